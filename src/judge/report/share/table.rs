//! The table of boards: a new one is its file and a line here.

use super::form::{Asked, Board, Document};
use super::measured::Shared;
use super::{hf_eval, localmaxxing};
use crate::error::{Error, Result};

/// How a board's document is written.
type Write = fn(&Shared<'_>, &Asked) -> Result<Document>;

/// Every board and its writer.
const FORMATS: &[(Board, Write)] =
    &[(Board::Localmaxxing, localmaxxing::document), (Board::HfEval, hf_eval::document)];

/// Writes what a board takes.
///
/// # Errors
/// A usage error that names every required field that is neither measured nor given.
pub fn document(board: Board, shared: &Shared<'_>, asked: &Asked) -> Result<Document> {
    let line = FORMATS.iter().find(|(listed, _)| *listed == board);
    let (_, write) = line.ok_or_else(|| Error::runtime(format!("nothing writes {}", board.name())))?;
    write(shared, asked)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_board_has_its_line_and_its_name() {
        let listed: Vec<Board> = FORMATS.iter().map(|(board, _)| *board).collect();
        assert_eq!(listed, Board::value_variants());
        for board in listed {
            assert_eq!(board.to_possible_value().unwrap().get_name(), board.name());
        }
    }
}
