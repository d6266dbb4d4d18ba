//! Durations in words.

use std::time::Duration;

/// A duration for people, in its two largest units.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |large: u64, unit: &str, small: u64, rest: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {rest}"),
    };
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=599 => two(minutes, "min", seconds % 60, "s"),
        600..=3599 => format!("{minutes} min"),
        _ => two(hours, "h", minutes % 60, "min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_its_two_largest_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (90, "1 min 30 s"),
            (720, "12 min"),
            (3600, "1 h"),
            (12_000, "3 h 20 min"),
        ] {
            assert_eq!(spoken(Duration::from_secs(seconds)), expected);
        }
    }
}
