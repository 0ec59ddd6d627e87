//! Merging the sources of a [`Config`].

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use toml::{Table, Value};

use super::{Config, read};

/// The file that is read when it is there and no other is named.
const DEFAULT_FILE: &str = "greenroom.toml";
/// Environment variables of this prefix are options.
const PREFIX: &str = "GREENROOM_";
/// Variables of the prefix that are no option: the log filter.
const NO_OPTION: [&str; 2] = ["GREENROOM_LOG", "GREENROOM_LOG_JSON"];

/// One value from the command line: a dotted key and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// As in the file, `http.bind`.
    pub key: String,
    /// As on the command line; lists are separated by commas.
    pub value: String,
}

/// Where options come from besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// A file that must exist; `None` = `greenroom.toml` if it is there.
    pub file: Option<PathBuf>,
    /// The environment, as from `std::env::vars()`.
    pub environment: Vec<(String, String)>,
    /// The command line.
    pub overrides: Vec<Override>,
}

/// The merged configuration, unchecked.
pub(super) fn merge(source: &Source) -> anyhow::Result<Config> {
    let mut table = file_table(source.file.as_ref())?;
    let defaults = Table::try_from(Config::default()).context("defaults as TOML")?;
    let keys = leaves(&defaults);
    for (name, text) in &source.environment {
        if !name.starts_with(PREFIX) || NO_OPTION.contains(&name.as_str()) {
            continue;
        }
        let (key, like) = keys
            .iter()
            .find(|(key, _)| environment_name(key) == *name)
            .ok_or_else(|| anyhow!("environment variable {name} is no option of greenroom"))?;
        let value = parse(text, like).with_context(|| format!("environment variable {name}"))?;
        insert(&mut table, key, value)?;
    }
    for Override { key, value } in &source.overrides {
        let (_, like) = keys
            .iter()
            .find(|(name, _)| name == key)
            .ok_or_else(|| anyhow!("{key} is no option of greenroom; see greenroom.toml"))?;
        let parsed = parse(value, like).with_context(|| format!("option {key}"))?;
        insert(&mut table, key, parsed)?;
    }
    table.try_into().context("a value from the environment or the command line")
}

/// The file as a table. It is read into a `Config` once only for the error, which then shows the
/// line.
fn file_table(file: Option<&PathBuf>) -> anyhow::Result<Table> {
    let path = match file {
        Some(path) => path.clone(),
        None if PathBuf::from(DEFAULT_FILE).is_file() => PathBuf::from(DEFAULT_FILE),
        None => return Ok(Table::new()),
    };
    let text = read(&path)?;
    toml::from_str::<Config>(&text).with_context(|| format!("in {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}

/// `http.bind` -> `GREENROOM_HTTP_BIND`.
pub(super) fn environment_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Every option with its default, as (dotted key, value).
pub(super) fn leaves(table: &Table) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                found.extend(leaves(inner).into_iter().map(|(k, v)| (format!("{key}.{k}"), v)))
            }
            other => found.push((key.clone(), other.clone())),
        }
    }
    found
}

/// `text` as a value of the same type as `like`.
fn parse(text: &str, like: &Value) -> anyhow::Result<Value> {
    Ok(match like {
        Value::Boolean(_) => {
            Value::Boolean(text.parse().with_context(|| format!("{text:?} is not true or false"))?)
        }
        Value::Integer(_) => {
            Value::Integer(text.parse().with_context(|| format!("{text:?} is not a whole number"))?)
        }
        Value::String(_) => Value::String(text.to_owned()),
        Value::Array(_) => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.to_owned()))
                .collect(),
        ),
        _ => bail!("options of this type cannot be set here"),
    })
}

/// Set a dotted key.
fn insert(table: &mut Table, key: &str, value: Value) -> anyhow::Result<()> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            let inner = inner.as_table_mut().ok_or_else(|| anyhow!("{section} is not a table"))?;
            insert(inner, rest, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(environment: &[(&str, &str)], overrides: &[(&str, &str)]) -> Source {
        Source {
            file: Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/greenroom.toml"))),
            environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            overrides: overrides
                .iter()
                .map(|(k, v)| Override { key: (*k).into(), value: (*v).into() })
                .collect(),
        }
    }

    fn refused(environment: &[(&str, &str)], overrides: &[(&str, &str)]) -> String {
        format!("{:#}", Config::load(&source(environment, overrides)).expect_err("must refuse"))
    }

    #[test]
    fn documented_file_equals_the_defaults() {
        assert_eq!(Config::load(&source(&[], &[])).expect("loads"), Config::default());
    }

    #[test]
    fn documented_file_has_every_option_with_a_sentence() {
        let text = include_str!("../../greenroom.toml");
        let written: Table = toml::from_str(text).expect("TOML");
        let defaults = Table::try_from(Config::default()).expect("TOML");
        let names = |table: &Table| leaves(table).into_iter().map(|l| l.0).collect::<Vec<_>>();
        assert_eq!(names(&written), names(&defaults));
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2) {
            if pair[1].contains(" = ") && !pair[1].starts_with('#') {
                assert!(pair[0].starts_with("# "), "no sentence above {:?}", pair[1]);
            }
        }
    }

    #[test]
    fn later_sources_win() {
        let environment =
            [("GREENROOM_HTTP_BIND", "127.0.0.1:9000"), ("GREENROOM_MEDIA_PORT", "9")];
        let config = Config::load(&source(&environment, &[("media.port", "10")])).expect("loads");
        assert_eq!(config.http.bind.port(), 9000);
        assert_eq!(config.media.port, 10);
        let list = source(&[], &[("media.addresses", "127.0.0.1, ::1")]);
        assert_eq!(Config::load(&list).expect("loads").media.addresses.len(), 2);
        let none = source(&[("GREENROOM_LOG", "debug")], &[("media.public_ip", "")]);
        assert_eq!(Config::load(&none).expect("loads").media.public_ip, None);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_named() {
        assert!(refused(&[("GREENROOM_HTP_BIND", "x")], &[]).contains("GREENROOM_HTP_BIND"));
        assert!(refused(&[], &[("http.bnd", "x")]).contains("http.bnd"));
        assert!(refused(&[], &[("http.bind", "x")]).contains("bind"));
        assert!(refused(&[("GREENROOM_MEDIA_SHARDS", "many")], &[]).contains("MEDIA_SHARDS"));
        let error = toml::from_str::<Config>("[limits]\nmesage_bytes = 1").expect_err("unknown");
        assert!(error.to_string().contains("mesage_bytes"), "{error}");
    }

    #[test]
    fn dev_mode_stays_on_loopback() {
        assert!(refused(&[], &[("http.bind", "0.0.0.0:8080")]).contains("--dev false"));
        let open = source(&[], &[("http.bind", "0.0.0.0:8080"), ("dev", "false")]);
        assert!(Config::load(&open).is_ok());
    }

    #[test]
    fn media_times_have_their_limits() {
        for (option, good, bad) in [
            ("media.hold_ms", "20", "21"),
            ("media.late_ms", "100", "99"),
            ("media.behind_ms", "200", "199"),
            ("media.behind_ms", "2000", "2001"),
            ("media.downlink_start_bps", "100000", "99999"),
            ("media.downlink_max_bps", "500000", "499999"),
        ] {
            assert!(Config::load(&source(&[], &[(option, good)])).is_ok(), "{option}");
            assert!(refused(&[], &[(option, bad)]).contains(option), "{option}");
        }
    }

    #[test]
    fn turn_needs_good_urls_a_secret_and_a_time() {
        let urls =
            ("media.turn_urls", "turn:turn.example:3478,turns:turn.example:443?transport=tcp");
        let (short, long) = ("x".repeat(19), "x".repeat(20));
        let secret = ("media.turn_secret", long.as_str());
        let config = Config::load(&source(&[], &[urls, secret])).expect("good");
        assert_eq!(config.media.turn_urls.len(), 2);
        assert!(config.media.turn().is_some() && Config::default().media.turn().is_none());
        assert!(refused(&[], &[urls]).contains("media.turn_secret"));
        assert!(refused(&[], &[secret]).contains("media.turn_urls"));
        let text = refused(&[], &[urls, ("media.turn_secret", &short)]);
        assert!(
            text.contains("19 bytes") && !text.contains(&short),
            "a secret is not told: {text}"
        );
        let stun = refused(&[], &[("media.turn_urls", "turn:a,stun:b"), secret]);
        assert!(stun.contains("stun:b"), "{stun}");
        let urls_of = |count: usize| vec!["turn:a"; count].join(",");
        assert!(Config::load(&source(&[], &[("media.turn_urls", &urls_of(4)), secret])).is_ok());
        assert!(refused(&[], &[("media.turn_urls", &urls_of(5)), secret]).contains("more than 4"));
        for (good, bad) in [("60", "59"), ("604800", "604801")] {
            assert!(Config::load(&source(&[], &[("media.turn_ttl_seconds", good)])).is_ok());
            let text = refused(&[], &[("media.turn_ttl_seconds", bad)]);
            assert!(text.contains("media.turn_ttl_seconds"), "{text}");
        }
    }

    #[test]
    fn short_secrets_are_refused() {
        assert!(refused(&[], &[("tokens.secret", &"x".repeat(31))]).contains("32"));
        let long = "x".repeat(32);
        assert!(Config::load(&source(&[], &[("tokens.secret", &long)])).is_ok());
    }
}
