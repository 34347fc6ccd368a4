//! A way through a map by rules: which line to take next, and what to do where it is closed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::record::{Case, Outcome, Reply, Score};
use crate::task::options::{THINKING, option, read_target, tuned};
use crate::task::random::Random;
use crate::task::retrieval::ran_out;
use crate::task::words::Keys;
use crate::task::{Card, Harder, Params, TaskOption};

use super::lines;
use super::merge::bulleted;
use super::work::{CLOSED, Job, Longform, SIZE_TOKENS, Work};

/// Lines that are taken in turn.
const COLOURS: [&str; 3] = ["red", "green", "blue"];
/// The line that is taken where the one in turn is closed.
const DETOUR: &str = "white";

static OPTIONS: &[TaskOption] = &[
    SIZE_TOKENS,
    THINKING,
    tuned(
        option("closed", "stations of 100 that have a closed line; more is harder", 40, 0, 100),
        Harder::Larger,
    ),
];

/// The task `longform/route`.
pub static ROUTE: Longform = Longform(&Route);

#[derive(Debug)]
struct Route;

/// The map: where each line of a station leads, its detour last, and which are closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Station {
    to: [usize; 4],
    closed: [bool; 3],
}

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    names: Vec<String>,
    stations: Vec<Station>,
    /// Number of the first station.
    start: usize,
    steps: usize,
}

/// A step as it is written: from where, by which line, to where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step<'a> {
    from: &'a str,
    colour: &'a str,
    to: &'a str,
}

impl Work for Route {
    fn card(&self) -> Card {
        Card {
            name: "longform/route",
            summary: "a way through a map, step by step by its rules: lines in turn, detours where they are closed",
            options: OPTIONS,
            figures: &["first_error", "exact"],
            needs: CLOSED,
            ..Card::PRIMARY
        }
    }

    /// A unit is a step of the way.
    fn job(&self, params: &Params, mut random: Random, units: usize) -> Job {
        let closed = params.option(&self.card(), "closed") as usize;
        let target = Target::draw(&mut random, units, closed);
        let mut listed: Vec<usize> = (0..target.stations.len()).collect();
        random.shuffle(&mut listed);
        let mut map = String::new();
        for station in listed {
            target.tell(&mut map, station);
        }
        let prompt = format!(
            "A map of stations. From each of them four lines lead on, one way only:\n\n{map}\nBegin at {}. Take lines in turn: red, \
             green, blue, red, green, blue and so on. Where the line in turn is closed, take the {DETOUR} line of that station \
             instead; the turn goes on as if nothing had happened. Write the first {units} steps, one a line, in the form\n\
             - FROM > COLOUR > TO\nand nothing else.",
            target.names[target.start]
        );
        let (answer, stretches) = bulleted(&target.way());
        Job { prompt, answer, target: json!(target), stretches }
    }

    /// Quality is the share of steps that are right, of those asked for or said, if these are more. A step is right that begins
    /// where the one in front of it ended, on the line that is its turn; so one wrong turn costs one step, if the way goes on
    /// from where it leads.
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let answer = reply.answer();
        let body = lines::body(&answer, |_| false);
        let walked = target.walked(&body)?;
        let most = target.steps.max(body.len()).max(1) as f64;
        let first = walked.iter().position(|fault| fault.is_some()).unwrap_or(walked.len()) as f64 / most;
        let right = walked.iter().filter(|fault| fault.is_none()).count() as f64 / most;
        let exact = f64::from(u8::from(right == 1.0));
        let score = Score::of(right).with("first_error", first).with("exact", exact);
        Ok(match walked.iter().flatten().next() {
            _ if right == 1.0 => score,
            _ if ran_out(reply) => score.labelled("truncated"),
            Some(fault) => score.labelled(*fault),
            None if body.is_empty() => score.labelled("empty"),
            None if body.len() < target.steps => score.labelled("missing_lines"),
            None => score.labelled("extra_lines"),
        })
    }

    fn right(&self, case: &Case) -> Option<String> {
        let target = read_target::<Target>(case).ok()?;
        target.is_sound().then(|| bulleted(&target.way()).0)
    }
}

impl Target {
    /// A map on which the way of so many steps never comes to a station for the same turn again.
    fn draw(random: &mut Random, steps: usize, closed: usize) -> Self {
        let count = steps / 2 + 4;
        let mut keys = Keys::default();
        let names = (0..count).map(|_| keys.next(random)).collect();
        // One line of a station at most is closed, so that its detour serves one turn alone.
        let station = |random: &mut Random| {
            let closed_line = random.chance(closed).then(|| random.below(COLOURS.len()));
            Station {
                to: [(); 4].map(|()| random.below(count)),
                closed: [0, 1, 2].map(|line| closed_line == Some(line)),
            }
        };
        let mut stations: Vec<Station> = (0..count).map(|_| station(random)).collect();
        let mut fresh: Vec<[bool; 3]> = vec![[true; 3]; count];
        let start = random.below(count);
        let mut at = start;
        for step in 0..steps {
            let (turn, next) = (step % 3, (step + 1) % 3);
            fresh[at][turn] = false;
            let line = if stations[at].closed[turn] { 3 } else { turn };
            let mut to = random.below(count);
            while !fresh[to][next] {
                to = (to + 1) % count;
            }
            stations[at].to[line] = to;
            at = to;
        }
        Self { names, stations, start, steps }
    }

    /// Adds what is told of a station.
    fn tell(&self, map: &mut String, number: usize) {
        let station = &self.stations[number];
        let line = |(at, colour): (usize, &&str)| {
            let closed = if station.closed.get(at) == Some(&true) { " (closed)" } else { "" };
            format!("{colour} to {}{closed}", self.names[station.to[at]])
        };
        let lines: Vec<String> = COLOURS.iter().chain([&DETOUR]).enumerate().map(line).collect();
        // Writing to a string does not fail.
        let _ = writeln!(map, "{}: {}", self.names[number], lines.join(", "));
    }

    /// Whether every number in it is one of a station.
    fn is_sound(&self) -> bool {
        let count = self.names.len();
        let within = self.stations.iter().flat_map(|station| station.to).all(|to| to < count);
        within && self.stations.len() == count && self.start < count
    }

    /// The line of a station at a turn, and where it leads.
    fn next(&self, station: usize, step: usize) -> (&'static str, usize) {
        let turn = step % COLOURS.len();
        let Station { to, closed } = &self.stations[station];
        if closed[turn] { (DETOUR, to[3]) } else { (COLOURS[turn], to[turn]) }
    }

    /// The steps of the right way.
    fn way(&self) -> Vec<String> {
        let mut at = self.start;
        let mut way = Vec::new();
        for step in 0..self.steps {
            let (colour, to) = self.next(at, step);
            way.push(format!("{} > {colour} > {}", self.names[at], self.names[to]));
            at = to;
        }
        way
    }

    /// What is wrong with each line of a reply, if anything.
    fn walked(&self, body: &[&str]) -> Result<Vec<Option<&'static str>>, Outcome> {
        if !self.is_sound() {
            return Err(Outcome::Unscored {
                reason: "the target names stations that there are not".to_owned(),
            });
        }
        let numbers: BTreeMap<&str, usize> = self.names.iter().map(String::as_str).zip(0..).collect();
        let mut at = Some(self.start);
        let mut faults = Vec::new();
        for (step, line) in body.iter().take(self.steps).enumerate() {
            let line = lines::item(line);
            let Some(said) = Step::read(&line) else {
                faults.push(Some("no_step"));
                continue;
            };
            let from = numbers.get(said.from).copied();
            let wanted = from.map(|from| self.next(from, step));
            faults.push(match wanted {
                None => Some("no_such_station"),
                _ if from != at => Some("jump"),
                Some((colour, _)) if colour != said.colour => Some("wrong_line"),
                Some((_, to)) if self.names[to] != said.to => Some("wrong_station"),
                Some(_) => None,
            });
            at = numbers.get(said.to).copied();
        }
        Ok(faults)
    }
}

impl<'a> Step<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split(['>', '→']).map(|word| word.trim().trim_matches(['-', ' ', '.']));
        let step = Self { from: words.next()?, colour: words.next()?, to: words.next()? };
        words.next().is_none().then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::{judged, make, of_family, prompt, score};
    use super::*;

    /// Walks over the map as it is told.
    fn solve(case: &Case) -> Vec<String> {
        let text = prompt(case);
        let mut map: BTreeMap<&str, BTreeMap<&str, (&str, bool)>> = BTreeMap::new();
        for line in text.lines().filter(|line| line.contains(": red to ")) {
            let (station, lines) = line.split_once(": ").unwrap();
            let told = lines.split(", ").map(|told| {
                let (colour, to) = told.split_once(" to ").unwrap();
                (colour, (to.trim_end_matches(" (closed)"), to.ends_with("(closed)")))
            });
            map.insert(station, told.collect());
        }
        let (_, rest) = text.split_once("Begin at ").unwrap();
        let mut at = rest.split_once(". ").unwrap().0;
        let (_, rest) = rest.split_once("the first ").unwrap();
        let steps: usize = rest.split_once(" steps").unwrap().0.parse().unwrap();
        let mut way = Vec::new();
        let mut turns = ["red", "green", "blue"].iter().cycle();
        for _ in 0..steps {
            let mut colour = *turns.next().unwrap();
            if map[at][colour].1 {
                colour = "white";
            }
            let to = map[at][colour].0;
            way.push(format!("- {at} > {colour} > {to}"));
            at = to;
        }
        way
    }

    #[test]
    fn walking_over_the_map_is_right() {
        for (size, closed) in [(512, 0), (512, 15), (2048, 100), (8192, 40)] {
            for case in make(&ROUTE, 40_960, 3, &[("size_tokens", size), ("closed", closed)]) {
                let way = solve(&case);
                assert_eq!(judged(&ROUTE, &case, &way.join("\n")), (1.0, None));
                let different: BTreeSet<&String> = way.iter().collect();
                assert!(different.len() * 10 > way.len() * 8, "{} of {}", different.len(), way.len());
            }
        }
    }

    #[test]
    fn a_wrong_turn_costs_one_step_where_the_way_goes_on_from_there() {
        let case = &make(&ROUTE, 2048, 1, &[("closed", 60)])[0];
        let target: Target = read_target(case).unwrap();
        let right = solve(case);
        let mut way = right[..5].to_vec();
        let read = |line: &str| {
            line.split(" > ").map(|word| word.trim_start_matches("- ").to_owned()).collect::<Vec<_>>()
        };
        let number = |name: &str| target.names.iter().position(|other| other == name).unwrap();
        // The sixth step ends at another station, and all others follow from that.
        let sixth = read(&right[5]);
        let mut at = (number(&sixth[2]) + 1) % target.names.len();
        way.push(format!("- {} > {} > {}", sixth[0], sixth[1], target.names[at]));
        for step in 6..right.len() {
            let (colour, to) = target.next(at, step);
            way.push(format!("- {} > {colour} > {}", target.names[at], target.names[to]));
            at = to;
        }
        let found = score(&ROUTE, case, &way.join("\n"));
        let steps = right.len() as f64;
        assert_eq!(found.quality, Some(1.0 - 1.0 / steps));
        assert_eq!(found.metrics["first_error"], 5.0 / steps);
        assert_eq!(found.label.as_deref(), Some("wrong_station"));
    }

    #[test]
    fn faults_are_named() {
        let case = &make(&ROUTE, 2048, 1, &[])[0];
        let right = solve(case);
        let label = |edit: &dyn Fn(&str) -> String| {
            let mut way = right.clone();
            way[3] = edit(&way[3]);
            judged(&ROUTE, case, &way.join("\n")).1.unwrap()
        };
        assert_eq!(label(&|_| "and so on".to_owned()), "no_step");
        assert_eq!(label(&|step| step.replacen("- ", "- old-", 1)), "no_such_station");
        assert_eq!(label(&|_| right[9].clone()), "jump");
        assert_eq!(label(&|step| step.replace("red", "black").replace("white", "black")), "wrong_line");
        let more = [&right[..], &right[..2]].concat().join("\n");
        assert_eq!(judged(&ROUTE, case, &more).1.as_deref(), Some("extra_lines"));
        let arrows = right.join("\n").replace('>', "→");
        assert_eq!(judged(&ROUTE, case, &arrows), (1.0, None));
    }

    #[test]
    fn a_target_with_unknown_stations_is_not_judged() {
        let mut case = make(&ROUTE, 2048, 1, &[]).remove(0);
        case.target["start"] = json!(9999);
        assert!(ROUTE.0.judge(&case, &Reply::default()).is_err());
        assert_eq!(ROUTE.0.right(&case), None);
    }

    #[test]
    fn it_keeps_the_rules_of_its_family() {
        of_family(&ROUTE);
    }
}
