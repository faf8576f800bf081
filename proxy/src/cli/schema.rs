//! `haldane schema`: what a configuration may contain, as JSON Schema, for editors.
//!
//! The shape is `config/schema.json`; what each key means is taken from the comments of the
//! reference file, so that it is said in one place.

use haldane_config::{REFERENCE, SCHEMA};
use serde_json::Value;

use super::Exit;
use super::output::{complain, say};

/// Prints the schema.
pub(crate) fn schema() -> Exit {
    match described() {
        Ok(schema) => {
            say(format_args!("{schema:#}"));
            Exit::Done
        }
        Err(error) => {
            complain(format_args!("cannot read the schema: {error}"));
            Exit::Runtime
        }
    }
}

fn described() -> Result<Value, serde_json::Error> {
    let mut schema: Value = serde_json::from_str(SCHEMA)?;
    for (path, text) in comments(REFERENCE) {
        if let Some(place) = pointer(&schema, &path)
            && let Some(Value::Object(place)) = schema.pointer_mut(&place)
        {
            place.entry("description").or_insert_with(|| text.into());
        }
    }
    Ok(schema)
}

/// What is said above each key and table, by its path.
fn comments(reference: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut table, mut said) = (String::new(), Vec::new());
    for line in reference.lines() {
        let text = line.strip_prefix('#').map_or(line, str::trim_start);
        let path = if let Some(name) = table_in(text) {
            name.clone_into(&mut table);
            table.clone()
        } else if let Some(key) = key_in(text) {
            [table.as_str(), key].join(".")
        } else {
            if line.starts_with('#') {
                said.push(text);
            } else {
                said.clear();
            }
            continue;
        };
        if !said.is_empty() {
            found.push((path.trim_start_matches('.').to_owned(), said.join(" ")));
            said.clear();
        }
    }
    found
}

/// The name in `[name]` or `[[name]]`.
fn table_in(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    let list = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    Some(list.unwrap_or(name)).filter(|name| is_word(&name.replace('.', "_")))
}

/// The key in `key = value`.
fn key_in(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(" = ")?;
    is_word(key).then_some(key)
}

fn is_word(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    !text.is_empty() && text.chars().all(is_letter)
}

/// Where in the schema the key with this path is described, as JSON Pointer (RFC 6901).
fn pointer(schema: &Value, path: &str) -> Option<String> {
    let mut place = String::new();
    for key in path.split('.') {
        place = table_below(schema, place)?;
        let table = schema.pointer(&place)?;
        // Tables whose names are free have one shape for all.
        place.push_str(&match table["properties"].get(key) {
            Some(_) => format!("/properties/{key}"),
            None => table
                .get("additionalProperties")
                .filter(|one| one.is_object())
                .map(|_| "/additionalProperties".to_owned())?,
        });
    }
    Some(place)
}

/// The shape of the table that may stand at a place, be it in a list or one of several
/// possibilities.
fn table_below(schema: &Value, place: String) -> Option<String> {
    let shape = schema.pointer(&place)?;
    if let Some(to) = shape["$ref"].as_str() {
        return table_below(schema, to.strip_prefix('#')?.to_owned());
    }
    if shape["type"] == "object" {
        return Some(place);
    }
    if shape.get("items").is_some() {
        return table_below(schema, format!("{place}/items"));
    }
    let choices = shape["anyOf"].as_array()?.len();
    (0..choices).find_map(|choice| table_below(schema, format!("{place}/anyOf/{choice}")))
}

#[cfg(test)]
mod tests {
    use haldane_config::known_keys;

    use super::*;

    #[test]
    fn every_key_is_there_and_says_what_it_means() {
        let schema = described().unwrap();
        let known: Vec<String> = known_keys().collect();
        let is_table = |key: &str| known.iter().any(|one| one.starts_with(&format!("{key}.")));
        let mut untold = Vec::new();
        for key in &known {
            let place = pointer(&schema, key).unwrap_or_else(|| panic!("{key} is not there"));
            let text = schema.pointer(&place).unwrap()["description"].as_str();
            let is_told = text.is_some_and(|text| text.len() > 10);
            if !is_told && !is_table(key) {
                untold.push(key);
            }
        }
        assert!(untold.is_empty(), "{untold:?}");
    }

    #[test]
    fn nothing_else_is_there() {
        let schema = described().unwrap();
        let known: Vec<String> = known_keys().collect();
        let mut left = vec![String::new()];
        let mut seen = 0;
        while let Some(path) = left.pop() {
            let Some(table) = (match path.as_str() {
                "" => table_below(&schema, String::new()),
                path => pointer(&schema, path).and_then(|place| table_below(&schema, place)),
            }) else {
                continue;
            };
            let Some(keys) = schema.pointer(&table).unwrap()["properties"].as_object() else {
                continue;
            };
            for key in keys.keys() {
                let path = format!("{path}.{key}").trim_start_matches('.').to_owned();
                assert!(known.contains(&path), "{path} is no key");
                seen += 1;
                left.push(path);
            }
        }
        assert!(seen > 100, "{seen}");
    }
}
