//! `docs/protocol.md`: the guide, then every message with its fields and its example.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;

struct Document {
    text: String,
    schema: Value,
    /// Types that were named and are to be explained at the end.
    named: BTreeSet<String>,
}

impl Document {
    fn definition(&self, name: &str) -> &Value {
        &self.schema["$defs"][name]
    }

    /// The name of a field's type, for a reader.
    fn type_of(&mut self, schema: &Value) -> String {
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
            let definition = self.definition(name).clone();
            if definition["type"] == "string" && definition["enum"].is_null() {
                return "text".into();
            }
            self.named.insert(name.to_owned());
            return format!("[`{name}`](#{})", name.to_lowercase());
        }
        if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            let parts: Vec<String> = choices.iter().map(|choice| self.type_of(choice)).collect();
            return parts.join(" or ");
        }
        let kinds = &schema["type"];
        let is_list =
            kinds == "array" || kinds.as_array().is_some_and(|k| k.contains(&"array".into()));
        let list = match is_list {
            true => format!("list of {}", self.type_of(&schema["items"].clone())),
            false => String::new(),
        };
        let one = |kind: &str| {
            match kind {
                "array" => &list,
                "string" => "text",
                "integer" => "number",
                "boolean" => "true or false",
                "null" => "`null`",
                other => other,
            }
            .to_owned()
        };
        match &schema["type"] {
            Value::String(kind) => one(kind),
            Value::Array(kinds) => {
                let kinds: Vec<String> = kinds.iter().filter_map(Value::as_str).map(one).collect();
                kinds.join(" or ")
            }
            _ => "any".into(),
        }
    }

    fn fields(&mut self, schema: &Value) {
        let Some(properties) = schema["properties"].as_object().filter(|p| !p.is_empty()) else {
            return;
        };
        let required: BTreeSet<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.text.push_str("| Field | Type | Meaning |\n|---|---|---|\n");
        for (name, field) in properties {
            let optional = if required.contains(name.as_str()) { "" } else { ", optional" };
            let kind = self.type_of(field);
            let kind = match required.contains(name.as_str()) {
                true => kind.as_str(),
                // What may be left out may be `null` as well; no need to say it twice.
                false => kind.strip_suffix(" or `null`").unwrap_or(&kind),
            };
            let about = field["description"].as_str().unwrap_or("").replace('\n', " ");
            let _ = writeln!(self.text, "| `{name}` | {kind}{optional} | {about} |");
        }
        self.text.push('\n');
    }

    fn example(&mut self, title: &str, name: &str) {
        let text = compact(&fixture(name));
        let _ = writeln!(self.text, "{title}\n\n```json\n{text}\n```\n");
    }

    /// The schema of the data of a message.
    fn data_of(&self, side: &str, kind: &str) -> Value {
        let variants = self.definition(side)["oneOf"].as_array().cloned().unwrap_or_default();
        let variant = variants.iter().find(|v| v["properties"]["type"]["const"] == kind);
        let data = variant.map(|v| v["properties"]["data"].clone()).unwrap_or_default();
        match data["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
            Some(name) => self.definition(name).clone(),
            None => data,
        }
    }

    fn commands(&mut self) {
        self.text.push_str("## Commands\n\nWhere no reply is shown, it is `{}`.\n\n");
        for (kind, about) in Command::TYPES.iter().zip(Command::ABOUT) {
            let _ = writeln!(self.text, "### {kind}\n\n{}\n", about.trim());
            let data = self.data_of("Command", kind);
            self.fields(&data);
            self.example("Example:", &format!("command.{kind}"));
            let reply = REPLIES.iter().find(|reply| reply.0 == *kind);
            if let Some((_, name, _)) = reply {
                self.example("Reply:", &format!("reply.{kind}"));
                let data = self.definition(name).clone();
                self.fields(&data);
            }
        }
    }

    fn events(&mut self) {
        self.text.push_str("## Events\n\n");
        for (kind, about) in Event::TYPES.iter().zip(Event::ABOUT) {
            let _ = writeln!(self.text, "### {kind} (event)\n\n{}\n", about.trim());
            let data = self.data_of("Event", kind);
            self.fields(&data);
            self.example("Example:", &format!("event.{kind}"));
        }
    }

    fn refusals(&mut self) {
        self.text.push_str(
            "## Refusals\n\nA refusal has a stable `code` to act on, a `message` for a person, and \
             where it helps the time to wait and `details`. Codes marked *again* may succeed when \
             the same command is simply sent again.\n\n",
        );
        self.example("Example:", "refusal");
        self.text.push_str("| Area | Code | Meaning | |\n|---|---|---|---|\n");
        for code in Code::ALL {
            let again = if code.retryable() { "again" } else { "" };
            let (area, name, message) = (code.area(), code.as_str(), code.message());
            let _ = writeln!(self.text, "| {area} | `{name}` | {message} | {again} |");
        }
        self.text.push('\n');
    }

    /// Explain the types that were named, and those that these name.
    fn types(&mut self) {
        self.text.push_str("## Types\n\n");
        let mut done = BTreeSet::new();
        while let Some(name) = self.named.iter().find(|name| !done.contains(*name)).cloned() {
            let definition = self.definition(&name).clone();
            let about = definition["description"].as_str().unwrap_or("").to_owned();
            let _ = writeln!(self.text, "### {name}\n\n{about}\n");
            self.fields(&definition);
            let choices = definition["oneOf"].as_array().cloned().unwrap_or_default();
            for choice in &choices {
                if let Some(value) = choice["const"].as_str() {
                    let about = choice["description"].as_str().unwrap_or("");
                    let _ = writeln!(self.text, "- `{value}`: {about}");
                }
            }
            if !choices.is_empty() {
                self.text.push('\n');
            }
            done.insert(name);
        }
    }
}

/// The file's text without the space between tokens, in the order it was written.
fn compact(text: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        let inside = in_string;
        in_string = if inside { *c != '"' || escaped } else { *c == '"' };
        escaped = inside && *c == '\\' && !escaped;
        inside || !c.is_whitespace()
    };
    text.chars().filter(keep).collect()
}

/// What the document is made from.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its shape is used")]
struct Shown {
    command: Command,
    answer: Answer,
    event: Event,
}

fn document() -> String {
    let guide = include_str!("../guide.md").to_owned();
    let schema = schemars::schema_for!(Shown).to_value();
    let mut document = Document { text: guide, schema, named: BTreeSet::new() };
    document.commands();
    document.events();
    document.refusals();
    document.types();
    document.text.trim_end().to_owned() + "\n"
}

#[test]
fn the_protocol_document_is_generated_from_the_types() {
    same_as_file("../docs/protocol.md", &document());
}

#[test]
fn every_message_and_code_is_documented_and_every_example_parses() {
    let path = root().join("../docs/protocol.md");
    let text = std::fs::read_to_string(path).expect("docs/protocol.md");
    for kind in Command::TYPES {
        assert!(text.contains(&format!("\n### {kind}\n")), "{kind} is not documented");
    }
    for kind in Event::TYPES {
        assert!(text.contains(&format!("\n### {kind} (event)\n")), "{kind} is not documented");
    }
    for code in Code::ALL {
        assert!(text.contains(&format!("`{}`", code.as_str())), "{} is missing", code.as_str());
    }
    let mut blocks = 0;
    for block in text.split("```json\n").skip(1) {
        let example = block.split("```").next().expect("closed");
        let value = json(example);
        blocks += 1;
        if value["ok"].is_boolean() {
            assert!(value["data"].is_object() || value["refusal"].is_object());
        } else if value["ts"].is_u64() {
            serde_json::from_value::<EventMessage>(value).expect("an event");
        } else {
            Envelope::parse(example).expect("an envelope").command().expect("a command");
        }
    }
    assert!(blocks > Command::TYPES.len() + Event::TYPES.len());
}
