//! What a server holds of a JSON Schema, keyword by keyword: found by trying instances on the grammar that it made of it.
//!
//! A keyword is enforced when the grammar cannot write a value that breaks this keyword alone, and can write the right value beside
//! it. Values are made, not thought out: many small changes of right values, each judged by a validator with and without the
//! keyword. All of it is pure; who asks the server hands in its answers.
//!
//! | module | what it does |
//! |---|---|
//! | [`check`] | from a schema and a server's answers to what is held |
//! | `keywords` | the keywords of a schema, and the schema without one |
//! | `examples` | right values of a schema that nobody gave any for |
//! | `patterns` | texts that fit a pattern |
//! | `mutants` | small changes of a value |
//! | `decimals` | multiples of fractions, as they are written |
//! | [`by_table`] | the same for engines that tell no grammar, by what was seen of their libraries |
//! | `seen` | what was seen: the data of `docs/seen/constrained.md` |
//! | `situation` | what its rows are about |
//! | `classify` | which of them a keyword of a schema is a case of |

pub mod by_table;
pub mod check;
mod classify;
mod decimals;
mod examples;
mod keywords;
mod mutants;
mod patterns;
mod seen;
mod situation;
