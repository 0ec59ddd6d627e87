//! `greenroom token`: a room token, signed with the server's own keys.

use anyhow::{Context, anyhow, bail};
use clap::Args;
use greenroom::keys;
use signaling::store::parse_ttl;
use signaling::token::{Claims, MAX_LIFE_S, TokenRole};

use super::Cli;

/// What the token says.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Room it is for, or `*` for every room
    #[arg(long)]
    room: String,
    /// host, viewer, analyst, admin, service or recorder
    #[arg(long)]
    role: String,
    /// Id of the user: letters, digits, `_` and `-`
    #[arg(long)]
    sub: String,
    /// Name that others see [default: the id]
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// How long it is good for: 90s, 15m or 1h, at most 1h
    #[arg(long, default_value = "1h")]
    ttl: String,
    /// The user is of age: may send gifts and be a guest [default: true]
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, hide_default_value = true)]
    adult: bool,
}

/// Print one line: the token.
pub(crate) fn run(cli: &Cli, token: &Token) -> anyhow::Result<()> {
    let config = cli.options.load()?;
    let life = parse_ttl(&token.ttl)
        .filter(|life| *life > 0)
        .ok_or_else(|| anyhow!("--ttl {}: write 90s, 15m or 1h", token.ttl))?;
    if life > MAX_LIFE_S {
        bail!("--ttl {}: a token lives at most 1h, clients renew it inside", token.ttl);
    }
    let role = token.role.parse::<TokenRole>().map_err(|_| {
        anyhow!("--role {}: use host, viewer, analyst, admin, service or recorder", token.role)
    })?;
    let mut claims = Claims::new(&token.room, role, &token.sub, now_s()? + life);
    claims.aud.clone_from(&config.tokens.audience);
    claims.name.clone_from(&token.name);
    claims.adult = token.adult;
    let signed = keys::load(&config)?
        .sign(&claims)
        .map_err(|_| anyhow!("--room and --sub are 1 to 64 letters, digits, `_` and `-`"))?;
    println!("{signed}");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "I/O shell")]
pub(super) fn now_s() -> anyhow::Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Ok(since.context("the clock of this machine is before 1970")?.as_secs())
}
