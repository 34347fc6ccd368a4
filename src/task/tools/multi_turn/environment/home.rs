//! A house: rooms with light, heating and blinds, doors with locks, routines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Environment, done, read, sorted, unknown};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Home {
    rooms: BTreeMap<String, Room>,
    /// Whether a door is locked.
    doors: BTreeMap<String, bool>,
    #[serde(default)]
    routines: Vec<Routine>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Room {
    /// Percent.
    light: u8,
    celsius: u8,
    blinds: Blinds,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Blinds {
    Open,
    Closed,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Routine {
    time: String,
    room: String,
    light: u8,
}

#[derive(Deserialize)]
struct Named {
    room: String,
}

#[derive(Deserialize)]
struct Light {
    room: String,
    percent: u8,
}

#[derive(Deserialize)]
struct Heating {
    room: String,
    celsius: u8,
}

#[derive(Deserialize)]
struct Position {
    room: String,
    position: Blinds,
}

#[derive(Deserialize)]
struct Lock {
    door: String,
    locked: bool,
}

impl Environment for Home {
    fn call(&mut self, name: &str, arguments: Value) -> Answer {
        match name {
            "list_rooms" => {
                Ok(json!({ "rooms": self.rooms.keys().collect::<Vec<_>>(), "doors": self.doors }))
            }
            "get_room" => {
                let Named { room } = read(arguments)?;
                Ok(json!(self.room(&room)?))
            }
            "set_light" => {
                let Light { room, percent } = read(arguments)?;
                self.room(&room)?.light = percent;
                done()
            }
            "set_heating" => {
                let Heating { room, celsius } = read(arguments)?;
                self.room(&room)?.celsius = celsius;
                done()
            }
            "set_blinds" => {
                let Position { room, position } = read(arguments)?;
                self.room(&room)?.blinds = position;
                done()
            }
            "set_lock" => self.set_lock(&read(arguments)?),
            "add_routine" => self.add_routine(read(arguments)?),
            _ => unknown(),
        }
    }

    fn essence(&self) -> Value {
        let routines = sorted(self.routines.iter().map(|routine| json!(routine)));
        json!({ "rooms": self.rooms, "doors": self.doors, "routines": routines })
    }
}

impl Home {
    fn room(&mut self, room: &str) -> Result<&mut Room, String> {
        self.rooms.get_mut(room).ok_or_else(|| format!("there is no room {room}"))
    }

    fn set_lock(&mut self, Lock { door, locked }: &Lock) -> Answer {
        *self.doors.get_mut(door).ok_or_else(|| format!("there is no door {door}"))? = *locked;
        done()
    }

    fn add_routine(&mut self, routine: Routine) -> Answer {
        self.room(&routine.room)?;
        self.routines.push(routine);
        done()
    }
}
