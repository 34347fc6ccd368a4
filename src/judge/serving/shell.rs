//! A line for a POSIX shell.

use super::form::{ServeForm, ServeText};
use super::served::Serving;

pub(super) fn write(serving: &Serving) -> ServeText {
    ServeText::command(ServeForm::Shell, serving.argv.shell())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::serving::served::tests::{HOSTILE, served, shell_words};

    #[test]
    fn every_word_comes_through() {
        let mut args = vec!["-m", "/models/m.gguf"];
        args.extend(HOSTILE);
        assert_eq!(shell_words(&write(&served(&args)).text.unwrap()), args);
    }
}
