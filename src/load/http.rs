//! Just enough HTTP/1.1 to open and end a session, blocking.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(20);

/// An `http://` URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    host: String,
    pub path: String,
}

impl Url {
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let rest = text
            .strip_prefix("http://")
            .with_context(|| format!("{text}: only http:// URLs, this is a loopback tool"))?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        Ok(Self { host, path: if path.is_empty() { "/".into() } else { path.into() } })
    }

    /// A `Location`, absolute or of this host.
    pub fn join(&self, location: &str) -> anyhow::Result<Self> {
        if location.starts_with('/') {
            return Ok(Self { host: self.host.clone(), path: location.to_owned() });
        }
        Self::parse(location)
    }

    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        let mut found = self.host.to_socket_addrs().with_context(|| self.host.clone())?;
        found.next().with_context(|| format!("{} has no address", self.host))
    }
}

/// Status, `Location` and body.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub location: Option<String>,
    pub body: String,
}

/// Who asks.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    pub token: Option<String>,
    /// Local address, if not whichever fits.
    pub source: Option<IpAddr>,
}

/// A connection, from `source` if given.
pub fn connect(to: SocketAddr, source: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&to.into(), PATIENCE)?;
    Ok(socket.into())
}

/// One exchange on a connection of its own.
pub fn request(method: &str, url: &Url, caller: &Caller, sdp: &str) -> anyhow::Result<Reply> {
    let mut connection = Connection::open(url, caller)?;
    let kind = if sdp.is_empty() { None } else { Some("application/sdp") };
    connection.write(method, &url.path, kind, sdp, "close")?;
    let mut answer = Vec::new();
    connection.stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
}

/// A connection that stays open between exchanges.
pub struct Connection {
    stream: TcpStream,
    host: String,
    token: Option<String>,
    /// Bytes that were read behind the last reply.
    rest: Vec<u8>,
}

impl Connection {
    pub fn open(url: &Url, caller: &Caller) -> anyhow::Result<Self> {
        let stream = connect(url.address()?, caller.source)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let (host, token) = (url.host.clone(), caller.token.clone());
        Ok(Self { stream, host, token, rest: Vec::new() })
    }

    fn write(
        &mut self,
        method: &str,
        path: &str,
        kind: Option<&str>,
        body: &str,
        after: &str,
    ) -> anyhow::Result<()> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: {after}\r\ncontent-length: {}\r\n",
            self.host,
            body.len()
        );
        if let Some(token) = &self.token {
            head += &format!("authorization: Bearer {token}\r\n");
        }
        if let Some(kind) = kind {
            head += &format!("content-type: {kind}\r\n");
        }
        Ok(self.stream.write_all(format!("{head}\r\n{body}").as_bytes())?)
    }

    /// Ask in JSON.
    pub fn json(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
        let kind = if body.is_empty() { None } else { Some("application/json") };
        self.write(method, path, kind, body, "keep-alive")?;
        let mut bytes = std::mem::take(&mut self.rest);
        loop {
            if let Some(end) = whole(&bytes)? {
                self.rest = bytes.split_off(end);
                let reply = parse(&String::from_utf8_lossy(&bytes))?;
                if reply.status != 200 {
                    bail!("{path} answered {}: {}", reply.status, reply.body.trim());
                }
                return Ok(serde_json::from_str(&reply.body)?);
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more)? {
                0 => bail!("{path}: the connection ended"),
                count => bytes.extend_from_slice(&more[..count]),
            }
        }
    }
}

/// Where a reply ends, once all of it is there; it must say its length or be chunked.
fn whole(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes[..head]);
    let mut end = head + 4;
    if let Some(length) = header(&text, "content-length") {
        end += length.parse::<usize>().context("the reply's length")?;
        return Ok((bytes.len() >= end).then_some(end));
    }
    header(&text, "transfer-encoding").context("the reply has no length")?;
    loop {
        let rest = bytes.get(end..).unwrap_or_default();
        let Some(line) = find(rest, b"\r\n") else { return Ok(None) };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line])?.trim(), 16)?;
        end += line + 2 + size + 2;
        if size == 0 {
            return Ok((bytes.len() >= end).then_some(end));
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned()))
}

fn parse(answer: &str) -> anyhow::Result<Reply> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the reply has no end of headers")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let chunked =
        header(head, "transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    Ok(Reply {
        status: status.context("the reply has no status")?,
        location: header(head, "location"),
        body: if chunked { unchunk(body)? } else { body.to_owned() },
    })
}

fn unchunk(mut body: &str) -> anyhow::Result<String> {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").context("a chunk has no size")?;
        let size = usize::from_str_radix(size.trim(), 16).context("a chunk's size")?;
        if size == 0 {
            return Ok(whole);
        }
        let (chunk, rest) = rest.split_at_checked(size).context("a chunk is cut")?;
        whole += chunk;
        let Some(rest) = rest.strip_prefix("\r\n") else { bail!("a chunk has no end") };
        body = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url = Url::parse("http://127.0.0.1:8080/whip/r").unwrap();
        assert_eq!((url.host.as_str(), url.path.as_str()), ("127.0.0.1:8080", "/whip/r"));
        assert_eq!(url.join("/whip/r/1").unwrap().path, "/whip/r/1");
        assert_eq!(url.join("http://other/x").unwrap().host, "other:80");
        assert!(Url::parse("https://h/").is_err());
    }

    #[test]
    fn replies() {
        let plain = parse("HTTP/1.1 201 Created\r\nLocation: /a\r\n\r\nv=0").unwrap();
        assert_eq!((plain.status, plain.location.as_deref()), (201, Some("/a")));
        assert_eq!(plain.body, "v=0");
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nv=0\r\n1\r\n!\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().body, "v=0!");
        let two = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP";
        assert_eq!(whole(two).unwrap(), Some(two.len() - 4));
        assert_eq!(whole(&two[..39]).unwrap(), None);
        let two = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nHTTP";
        assert_eq!(whole(two).unwrap(), Some(two.len() - 4));
        assert!((0..two.len() - 4).all(|cut| whole(&two[..cut]).unwrap().is_none()));
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        for bad in ["", "HTTP/1.1 x\r\n\r\n"] {
            assert!(parse(bad).is_err());
        }
    }
}
