//! Settings as a text for people, and as a schema for editors.

use serde::Serialize;
use serde_json::Value;

/// The width at which a comment is broken.
const WIDTH: usize = 96;

pub(crate) fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

pub(crate) fn header(path: &str, doc: &[&str], out: &mut String) {
    if path.is_empty() {
        return;
    }
    out.push('\n');
    comment(doc, out);
    out.push_str(&format!("[{path}]\n"));
}

pub(crate) fn setting(doc: &[&str], name: &str, written: &str, out: &mut String) {
    let mut explained = String::new();
    comment(doc, &mut explained);
    explained.push_str(&format!("{name} = "));
    // What was explained once is not explained for every tier again.
    if out.contains(&explained) {
        explained = format!("{name} = ");
    }
    out.push_str(&explained);
    out.push_str(written);
    out.push('\n');
}

fn comment(doc: &[&str], out: &mut String) {
    let mut line = String::from("#");
    for word in doc.iter().flat_map(|line| line.split_whitespace()) {
        if line.chars().count().saturating_add(word.chars().count()) >= WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > 1 {
        out.push_str(&line);
        out.push('\n');
    }
}

/// A schema with what the setting means, and what it is when it is not set.
pub(crate) fn described(mut schema: Value, doc: &[&str], default: &impl Serialize) -> Value {
    if let Value::Object(fields) = &mut schema {
        let text: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
        fields.insert("description".to_owned(), Value::String(text.join(" ")));
        let is_section = fields.contains_key("properties");
        if !is_section && let Ok(default) = serde_json::to_value(default) {
            fields.insert("default".to_owned(), default);
        }
    }
    schema
}
