//! The table as bars: one panel a kind of work, the fastest bar full.

use std::fmt::Write as _;

use crate::peers::PEERS;
use crate::{Figure, Work, whole};

const WIDTH: f64 = 860.0;
const BAR: f64 = 17.0;
const PANEL: f64 = 40.0;
const COLUMN: f64 = 420.0;

/// The picture.
pub fn draw(works: &[Work], table: &[Vec<Option<Figure>>]) -> String {
    let panel_height = PANEL + BAR * PEERS.len() as f64 + 14.0;
    let rows = works.len().div_ceil(2);
    let height = panel_height * rows as f64 + 10.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (at, (work, figures)) in works.iter().zip(table).enumerate() {
        let x = 10.0 + (at % 2) as f64 * COLUMN;
        let y = (at / 2) as f64 * panel_height;
        panel(&mut out, (x, y), work, figures);
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, (x, y): (f64, f64), work: &Work, figures: &[Option<Figure>]) {
    let better = if work.more_is_better { "more" } else { "less" };
    writeln!(
        out,
        "<text x=\"{x}\" y=\"{}\" font-weight=\"bold\">{}</text>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#777777\">{}, {better} is better</text>",
        y + 28.0,
        work.title,
        x + COLUMN - 30.0,
        y + 28.0,
        work.unit,
    )
    .unwrap();
    let speed = |figure: &Figure| {
        if work.more_is_better {
            figure.median
        } else {
            1.0 / figure.median
        }
    };
    let best = figures.iter().flatten().map(speed).fold(0.0, f64::max);
    for (at, (peer, figure)) in PEERS.iter().zip(figures).enumerate() {
        let top = y + PANEL + at as f64 * BAR;
        let name = peer.name().replace('*', "");
        let (fill, weight) = if at == 0 {
            ("#b5452c", "bold")
        } else {
            ("#8aa0b5", "normal")
        };
        let (length, label) = figure.as_ref().map_or((0.0, "-".to_owned()), |figure| {
            (220.0 * speed(figure) / best, whole(figure.median))
        });
        writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-weight=\"{weight}\">{name}</text>\
             <rect x=\"{}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\" fill=\"{fill}\"/>\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#444444\">{label}</text>",
            x + 78.0,
            top + 12.0,
            x + 84.0,
            top + 1.0,
            BAR - 4.0,
            x + 90.0 + length,
            top + 12.0,
        )
        .unwrap();
    }
}
