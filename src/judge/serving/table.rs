//! The table of forms: a new one is its file and a line here.

use super::form::{ServeForm, ServeText};
use super::served::Serving;
use super::{docker, llama_swap, ollama, shell, systemd};

/// How a form is written.
type Write = fn(&Serving) -> ServeText;

/// Every form and its writer.
const FORMS: &[(ServeForm, Write)] = &[
    (ServeForm::Shell, shell::write),
    (ServeForm::LlamaSwap, llama_swap::write),
    (ServeForm::Docker, docker::write),
    (ServeForm::Systemd, systemd::write),
    (ServeForm::Ollama, ollama::write),
];

/// Writes what serves a setting in every form.
#[must_use]
pub fn forms(serving: &Serving) -> Vec<ServeText> {
    FORMS.iter().map(|(_, write)| write(serving)).collect()
}

/// Writes what serves a setting in one form.
#[must_use]
pub fn write(form: ServeForm, serving: &Serving) -> ServeText {
    let line = FORMS.iter().find(|(listed, _)| *listed == form);
    line.map_or_else(|| ServeText::none(form, "nothing writes this form"), |(_, write)| write(serving))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_form_has_its_line_and_its_name() {
        let listed: Vec<ServeForm> = FORMS.iter().map(|(form, _)| *form).collect();
        assert_eq!(listed, ServeForm::value_variants());
        for form in listed {
            assert_eq!(form.to_possible_value().unwrap().get_name(), form.name());
            assert_eq!(serde_json::to_value(form).unwrap(), form.name());
        }
    }
}
