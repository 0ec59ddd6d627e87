//! The signing key of development mode.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};

use crate::token::MIN_SECRET;

/// The key's file name in the data folder. Its text, 64 hexadecimal digits, is the HS256 secret.
pub const KEY_FILE: &str = "dev-token.key";

/// The secret of a data folder, made from 32 random bytes on first use with mode 0600.
///
/// # Errors
/// When the folder cannot be used, others can read the file, or it holds no usable key.
pub fn dev_secret(folder: &Path) -> anyhow::Result<Vec<u8>> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the data folder {}", folder.display()))?;
    let path = folder.join(KEY_FILE);
    for _ in 0..2 {
        match fs::read_to_string(&path) {
            Ok(text) => return check_secret(&path, text.trim()),
            Err(error) if error.kind() == ErrorKind::NotFound => create_secret(&path)?,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    bail!("cannot keep a key at {}", path.display())
}

/// Whole and synced under another name first, so that no crash leaves half a key.
fn create_secret(path: &Path) -> anyhow::Result<()> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).context("no randomness")?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    // A link fails if somebody else was first; theirs is as good.
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    drop(fs::remove_file(&temporary));
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot write {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn check_secret(path: &Path, text: &str) -> anyhow::Result<Vec<u8>> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions());
        ensure!(
            mode & 0o077 == 0,
            "{} can be read by others (mode {:o}): chmod 600 it, or delete it to get a new one",
            path.display(),
            mode & 0o777
        );
    }
    ensure!(
        text.len() >= MIN_SECRET,
        "{} holds no key: delete it to get a new one",
        path.display()
    );
    Ok(text.as_bytes().to_vec())
}

/// Parse a life such as `1h`, `30m`, `45s` or plain seconds.
#[must_use]
pub fn parse_ttl(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'h' => (&text[..text.len() - 1], 3600),
        b'm' => (&text[..text.len() - 1], 60),
        b's' => (&text[..text.len() - 1], 1),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::test_folder;

    #[test]
    fn the_key_is_made_once_and_is_private() {
        let folder = test_folder("key");
        let first = dev_secret(folder.path()).expect("made");
        assert_eq!(first.len(), 64);
        assert_eq!(dev_secret(folder.path()).expect("read"), first);
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = folder.path().join(KEY_FILE);
            assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
            let error = dev_secret(folder.path()).expect_err("readable by others");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_truncated_key_file_is_no_key() {
        let folder = test_folder("short");
        dev_secret(folder.path()).expect("made");
        fs::write(folder.path().join(KEY_FILE), "abc\n").expect("write");
        assert!(dev_secret(folder.path()).is_err());
    }

    #[test]
    fn lives() {
        for (text, seconds) in [("1h", 3600), ("30m", 1800), ("45s", 45), ("90", 90)] {
            assert_eq!(parse_ttl(text), Some(seconds));
        }
        for text in ["", "h", "-1h", "1d", "é", "99999999999999999999h", "9999999999999999999h"] {
            assert_eq!(parse_ttl(text), None, "{text}");
        }
    }
}
