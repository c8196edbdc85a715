//! `plot`: records or bytes of every partition over time, as a picture.
//!
//! Knows nothing about how records got their times. The picture is an SVG of its own, which a
//! browser shows.

use std::path::PathBuf;

use clap::Args;
use ottla::{Start, Timestamp};

use crate::bytes::float;
use crate::failure::{Failure, Result, file_failure};
use crate::out::Out;
use crate::place::Place;

use super::select;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 180.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 8] = [
    "#1b6ca8", "#d1495b", "#3a7d44", "#edae49", "#66489c", "#00798c", "#8d5b4c", "#555555",
];

/// The flags of `plot`.
#[derive(Args, Debug)]
pub(crate) struct Plot {
    /// Topics or patterns, with commas between them; all when none are named
    #[arg(long, value_name = "NAMES")]
    topic: Option<String>,
    /// records or bytes
    #[arg(long, value_name = "WHAT", default_value = "records")]
    what: String,
    /// Into how many spans of time it is cut
    #[arg(long, value_name = "COUNT", default_value_t = 60)]
    buckets: u32,
    /// The file; standard output when none is named
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A line of the picture: times and amounts, then amounts by bucket.
struct Line {
    name: String,
    points: Vec<(i64, u64)>,
}

impl Plot {
    /// Draws the picture.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        let counts_bytes = match self.what.as_str() {
            "records" => false,
            "bytes" => true,
            other => {
                return Err(Failure::usage(format!(
                    "--what cannot be {other}: expected records or bytes"
                )));
            }
        };
        if !(1..=10_000).contains(&self.buckets) {
            return Err(Failure::usage("--buckets is 1 to 10000"));
        }
        let lines = lines(place, self.topic.as_deref(), counts_bytes)?;
        let picture = self.draw(&lines);
        match &self.out {
            None => out.line(picture)?,
            Some(path) => std::fs::write(path, picture)
                .map_err(|error| file_failure("write", path, &error))?,
        }
        Ok(0)
    }

    fn draw(&self, lines: &[Line]) -> String {
        let times = || {
            lines
                .iter()
                .flat_map(|line| line.points.iter().map(|(at, _)| *at))
        };
        let (from, to) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        let span = to.saturating_sub(from).max(1);
        let buckets: Vec<Vec<u64>> = lines
            .iter()
            .map(|line| self.buckets_of(line, from, span))
            .collect();
        let highest = buckets.iter().flatten().copied().max().unwrap_or(0).max(1);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{} over time</text>\n",
            self.what
        );
        let base = HEIGHT - BOTTOM;
        svg.push_str(&format!(
            "<path d=\"M{LEFT} {TOP}V{base}H{}\" fill=\"none\" stroke=\"#888\"/>\n\
             <text x=\"{}\" y=\"{TOP}\" text-anchor=\"end\">{highest}</text>\n\
             <text x=\"{}\" y=\"{base}\" text-anchor=\"end\">0</text>\n\
             <text x=\"{LEFT}\" y=\"{}\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
            WIDTH - RIGHT,
            LEFT - 8.0,
            LEFT - 8.0,
            base + 20.0,
            Timestamp::from_millis(from),
            WIDTH - RIGHT,
            base + 38.0,
            Timestamp::from_millis(to),
        ));
        for (number, (line, amounts)) in lines.iter().zip(&buckets).enumerate() {
            svg.push_str(&self.polyline(number, &line.name, amounts, highest));
        }
        svg.push_str("</svg>");
        svg
    }

    fn buckets_of(&self, line: &Line, from: i64, span: i64) -> Vec<u64> {
        let count = i128::from(self.buckets);
        let mut amounts = vec![0; usize::try_from(self.buckets).unwrap_or(1)];
        for (at, amount) in &line.points {
            let place = i128::from(at.saturating_sub(from)) * count / (i128::from(span) + 1);
            if let Some(bucket) = usize::try_from(place)
                .ok()
                .and_then(|place| amounts.get_mut(place))
            {
                *bucket += amount;
            }
        }
        amounts
    }

    fn polyline(&self, number: usize, name: &str, amounts: &[u64], highest: u64) -> String {
        let colour = COLOURS
            .get(number % COLOURS.len())
            .copied()
            .unwrap_or("black");
        let step = (WIDTH - LEFT - RIGHT) / f64::from(self.buckets);
        let mut x = LEFT + step / 2.0;
        let mut points = String::new();
        for amount in amounts {
            let share = float(*amount) / float(highest);
            let y = HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
            points.push_str(&format!("{x:.1},{y:.1} "));
            x += step;
        }
        let label = TOP + 18.0 * float(u64::try_from(number).unwrap_or(0));
        format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{}\" y=\"{label}\" fill=\"{colour}\">{name}</text>\n",
            points.trim_end(),
            WIDTH - RIGHT + 14.0
        )
    }
}

fn lines(place: &Place, list: Option<&str>, counts_bytes: bool) -> Result<Vec<Line>> {
    let broker = place.read()?;
    let names = match list {
        Some(list) => select::topics(&broker, list)?,
        None => broker.topic_names(),
    };
    let mut lines = Vec::new();
    for name in names {
        let Some(topic) = select::if_there(broker.topic(&name))? else {
            continue;
        };
        for id in 0..topic.partition_count() {
            let mut points: Vec<(i64, u64)> = Vec::new();
            let opened = topic.partition(id);
            let opened = opened.and_then(|log| log.reader(Start::Earliest));
            let Some(mut reader) = select::if_there(opened)? else {
                break;
            };
            while let Some(batch) = select::next_left(&mut reader)? {
                for record in batch.records() {
                    let part = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
                    let size = part(record.key()) + part(record.value());
                    let amount = if counts_bytes {
                        u64::try_from(size).unwrap_or(0)
                    } else {
                        1
                    };
                    let at = record.timestamp.as_millis();
                    match points.last_mut() {
                        Some((newest, sum)) if *newest == at => *sum += amount,
                        _ => points.push((at, amount)),
                    }
                }
            }
            lines.push(Line {
                name: format!("{name}-{id}"),
                points,
            });
        }
    }
    Ok(lines)
}
