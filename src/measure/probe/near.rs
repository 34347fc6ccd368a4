//! Which processors are near a graphics card.
//!
//! A host with several sockets has several memories (NUMA nodes), and each slot belongs to one. A server that is pinned to
//! the processors of its card's node gets its main memory there, too: Linux takes it where a page is first written.

use std::path::Path;

use super::sysfs::first_line;
use super::{amd, intel, nvidia};

/// The processors near each card, in the order of the machine's cards; none of a card of which the kernel does not say.
pub fn processors_near_cards() -> Vec<Vec<usize>> {
    let root = Path::new("/");
    let addresses = [nvidia::addresses(), amd::addresses(root), intel::addresses(root)].concat();
    addresses.iter().map(|address| processors_near(root, address)).collect()
}

fn processors_near(root: &Path, address: &str) -> Vec<usize> {
    let file = root.join("sys/bus/pci/devices").join(address).join("local_cpulist");
    first_line(&file).and_then(|list| listed(&list)).unwrap_or_default()
}

/// Reads a list such as `0-3,8,10-11`; `None` where it is none.
fn listed(list: &str) -> Option<Vec<usize>> {
    let mut processors = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // No kernel has more processors.
        if last < first || last >= 1 << 16 {
            return None;
        }
        processors.extend(first..=last);
    }
    Some(processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_what_is_none_is_not() {
        assert_eq!(listed("0-2,8,10-11").unwrap(), [0, 1, 2, 8, 10, 11]);
        assert_eq!(listed("5").unwrap(), [5]);
        for wrong in ["", "a", "3-1", "1-", "0-99999999999", "1,,2"] {
            assert_eq!(listed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_card_has_the_processors_that_its_slot_names() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/bus/pci/devices/0000:65:00.0");
        std::fs::create_dir_all(&device).unwrap();
        std::fs::write(device.join("local_cpulist"), "16-31,48-63\n").unwrap();
        let near = processors_near(root.path(), "0000:65:00.0");
        assert_eq!((near.len(), near[0], near[16]), (32, 16, 48));
        assert!(processors_near(root.path(), "0000:66:00.0").is_empty());
        assert!(processors_near(root.path(), "").is_empty());
    }
}
