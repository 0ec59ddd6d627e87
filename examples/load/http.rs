//! Just enough HTTP/1.1 to open and end a session, one connection per request, blocking.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};
use socket2::{Domain, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(20);

/// An `http://` URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    host: String,
    path: String,
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

fn connect(to: SocketAddr, source: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&to.into(), PATIENCE)?;
    Ok(socket.into())
}

/// One exchange.
pub fn request(method: &str, url: &Url, caller: &Caller, sdp: &str) -> anyhow::Result<Reply> {
    let mut stream = connect(url.address()?, caller.source)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
        url.path,
        url.host,
        sdp.len()
    );
    if let Some(token) = &caller.token {
        head += &format!("authorization: Bearer {token}\r\n");
    }
    if !sdp.is_empty() {
        head += "content-type: application/sdp\r\n";
    }
    stream.write_all(format!("{head}\r\n{sdp}").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
}

fn parse(answer: &str) -> anyhow::Result<Reply> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the reply has no end of headers")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let header = |name: &str| {
        head.lines().filter_map(|line| line.split_once(':')).find_map(|(key, value)| {
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let chunked = header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    Ok(Reply {
        status: status.context("the reply has no status")?,
        location: header("location"),
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
        for bad in ["", "HTTP/1.1 x\r\n\r\n"] {
            assert!(parse(bad).is_err());
        }
    }
}
