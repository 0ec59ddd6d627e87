//! The token keys of an installation: a configured secret, or the one in the data folder.

use signaling::store::dev_secret;
use signaling::token::TokenKeys;

use crate::config::Config;

/// The keys of the server with this configuration. Makes the data folder and its secret when they
/// are missing, so that `greenroom token` works before the first start.
///
/// # Errors
/// A folder or file that cannot be read or made, a secret that is too short.
pub fn load(config: &Config) -> anyhow::Result<TokenKeys> {
    let secret = match config.tokens.secret.as_str() {
        "" => dev_secret(&config.data_dir)?,
        secret => secret.as_bytes().to_vec(),
    };
    Ok(TokenKeys::new(&secret)?.with_audience(&config.tokens.audience))
}
