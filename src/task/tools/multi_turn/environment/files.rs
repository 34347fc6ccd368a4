//! Text files by path.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Environment, done, read, unknown};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Files {
    files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Folder {
    folder: Option<String>,
}

#[derive(Deserialize)]
struct Path {
    path: String,
}

#[derive(Deserialize)]
struct Write {
    path: String,
    content: String,
}

#[derive(Deserialize)]
struct Move {
    from: String,
    to: String,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

impl Environment for Files {
    fn call(&mut self, name: &str, arguments: Value) -> Answer {
        match name {
            "list_files" => Ok(self.list(read(arguments)?)),
            "find_text" => Ok(self.find(&read(arguments)?)),
            "read_file" => self.read(&read(arguments)?),
            "write_file" => self.write(read(arguments)?),
            "append_file" => self.append(&read(arguments)?),
            "move_file" => self.rename(read(arguments)?),
            "delete_file" => self.delete(&read(arguments)?),
            _ => unknown(),
        }
    }

    fn essence(&self) -> Value {
        json!(self.files)
    }
}

impl Files {
    fn list(&self, Folder { folder }: Folder) -> Value {
        let prefix = folder.map(|folder| format!("{}/", folder.trim_end_matches('/'))).unwrap_or_default();
        let inside = |path: &&String| path.starts_with(&prefix);
        json!({ "files": self.files.keys().filter(inside).collect::<Vec<_>>() })
    }

    fn find(&self, Text { text }: &Text) -> Value {
        let holding = self.files.iter().filter(|(_, content)| content.contains(text.as_str()));
        json!({ "files": holding.map(|(path, _)| path).collect::<Vec<_>>() })
    }

    fn read(&self, Path { path }: &Path) -> Answer {
        let content = self.files.get(path).ok_or_else(|| missing(path))?;
        Ok(json!({ "content": content }))
    }

    fn write(&mut self, Write { path, content }: Write) -> Answer {
        self.files.insert(path, content);
        done()
    }

    fn append(&mut self, Write { path, content }: &Write) -> Answer {
        self.files.get_mut(path).ok_or_else(|| missing(path))?.push_str(content);
        done()
    }

    fn rename(&mut self, Move { from, to }: Move) -> Answer {
        if self.files.contains_key(&to) {
            return Err(format!("{to} is there already"));
        }
        let content = self.files.remove(&from).ok_or_else(|| missing(&from))?;
        self.files.insert(to, content);
        done()
    }

    fn delete(&mut self, Path { path }: &Path) -> Answer {
        self.files.remove(path).ok_or_else(|| missing(path))?;
        done()
    }
}

fn missing(path: &str) -> String {
    format!("there is no file {path}")
}
