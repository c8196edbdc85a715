//! The table: one printed line a row, figures by rounds that take turns.

use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// A minute in all.
    Quick,
    /// Ten minutes in all, at most.
    Full,
}

impl Effort {
    /// One number or another.
    pub(crate) fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// The median of some rounds, the fastest and the slowest one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Figure {
    /// Of figures in any order, at least one.
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self {
            median: *figures.get(figures.len() / 2).unwrap(),
            least: *figures.first().unwrap(),
            most: *figures.last().unwrap(),
        }
    }

    /// One figure, measured once.
    pub(crate) fn once(figure: f64) -> Self {
        Self::of(vec![figure])
    }
}

/// One thing that is measured: a round gives its figure.
pub(crate) type Round<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// The table as it is printed.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) effort: Effort,
    began: Instant,
}

impl Rows {
    /// Prints the head.
    pub(crate) fn begin(effort: Effort) -> Self {
        println!(
            "{:<58} {:>10} {:>22} {:>10} {:>7}  goal",
            "row", "ours", "(least..most)", "floor", "ratio"
        );
        Self {
            effort,
            began: Instant::now(),
        }
    }

    /// Prints how long it took.
    pub(crate) fn end(&self) {
        println!("# took {:.0} s", self.began.elapsed().as_secs_f64());
    }

    /// Runs the rounds of ours and of its floor in turns and prints a line.
    pub(crate) fn compare(row: &str, goal: &str, rounds: u32, pair: [Round<'_>; 2]) {
        let [mut ours, mut floor] = pair;
        let mut figures = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            figures.0.push(ours());
            figures.1.push(floor());
        }
        let (ours, floor) = (Figure::of(figures.0), Figure::of(figures.1));
        Self::line(row, goal, ours, Some(floor));
    }

    /// Prints a line of what was measured.
    pub(crate) fn line(row: &str, goal: &str, ours: Figure, floor: Option<Figure>) {
        let spread = format!("({}..{})", short(ours.least), short(ours.most));
        let (beside, ratio) = floor.map_or((String::new(), String::new()), |floor| {
            let ratio = ours.median / floor.median;
            (short(floor.median), format!("{ratio:.2}"))
        });
        let ours = short(ours.median);
        println!("{row:<58} {ours:>10} {spread:>22} {beside:>10} {ratio:>7}  {goal}");
    }
}

fn short(figure: f64) -> String {
    if figure >= 100.0 {
        format!("{figure:.0}")
    } else {
        format!("{figure:.1}")
    }
}

/// Nanoseconds for each of so many.
pub(crate) fn nanos_each(took: Duration, count: u64) -> f64 {
    took.as_secs_f64() * 1e9 / count as f64
}

/// Times a piece of work; nanoseconds for each of `count`.
pub(crate) fn timed(count: u64, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    nanos_each(began.elapsed(), count)
}
