//! The token keys of an installation: a configured secret, or one made once in the data folder.

#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use signaling::token::TokenKeys;

use crate::config::Config;

/// The generated secret, 64 hexadecimal digits, readable by its owner only.
const FILE: &str = "token.key";
/// Random bytes of a generated secret; twice the minimum of HS256 costs nothing.
const SECRET_BYTES: usize = 32;

/// The keys of the server with this configuration. Creates the data folder and the secret when
/// they are missing, so that `greenroom token` works before the first start.
///
/// # Errors
/// A folder or file that cannot be read or made, a secret that is too short.
pub fn load(config: &Config) -> anyhow::Result<TokenKeys> {
    let secret = match config.tokens.secret.as_str() {
        "" => stored(&config.data_dir)?,
        secret => secret.to_owned(),
    };
    Ok(TokenKeys::new(secret.as_bytes())?.with_audience(&config.tokens.audience))
}

fn stored(folder: &Path) -> anyhow::Result<String> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the data folder {} (data_dir)", folder.display()))?;
    let path = folder.join(FILE);
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let secret = fresh();
            file.write_all(secret.as_bytes())
                .and_then(|()| file.sync_all())
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let secret = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let secret = secret.trim().to_owned();
            if secret.is_empty() {
                bail!("{} is empty: delete it to get a new key", path.display());
            }
            Ok(secret)
        }
        Err(error) => Err(error).with_context(|| format!("cannot make {}", path.display())),
    }
}

fn fresh() -> String {
    let bytes: [u8; SECRET_BYTES] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let path =
            std::env::temp_dir().join(format!("greenroom-keys-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_generated_secret_is_kept_and_private() {
        use std::os::unix::fs::PermissionsExt;

        let folder = folder("kept");
        let first = stored(&folder).expect("makes one");
        assert_eq!(first.len(), 2 * SECRET_BYTES);
        assert_eq!(stored(&folder).expect("reads it"), first);
        let mode = fs::metadata(folder.join(FILE)).expect("exists").permissions().mode();
        assert_eq!(mode & 0o077, 0);
        fs::remove_dir_all(folder).expect("cleans up");
    }

    #[test]
    fn an_empty_file_is_not_a_key() {
        let folder = folder("empty");
        fs::create_dir_all(&folder).expect("folder");
        fs::write(folder.join(FILE), "").expect("file");
        assert!(stored(&folder).is_err());
        fs::remove_dir_all(folder).expect("cleans up");
    }
}
