//! Tests of `histogram.rs`.

use super::*;

#[test]
fn a_quantile_is_at_most_twice_the_figure_and_never_below_it() {
    let mut histogram = Histogram::default();
    assert_eq!((histogram.quantile(500), histogram.max()), (0, 0));
    let figures = [0, 1, 3, 4, 5, 100, 1_000, 70_000, u64::MAX / 2, u64::MAX];
    for (at, figure) in figures.into_iter().enumerate() {
        histogram.record(figure);
        let last = histogram.quantile(1000);
        assert!(last >= figure && last / 2 <= figure, "{figure}: {last}");
        assert_eq!(histogram.count(), to_u64(at) + 1);
    }
    let median = histogram.quantile(500);
    assert!((5..10).contains(&median), "{median}");
    assert_eq!(histogram.quantile(0), 0);
    assert_eq!(histogram.quantile(5000), u64::MAX);
}

#[test]
fn two_histograms_add_up_to_one_of_all_figures() {
    let (mut low, mut high, mut all) = (
        Histogram::default(),
        Histogram::default(),
        Histogram::default(),
    );
    for figure in 0..1000 {
        let part = if figure % 3 == 0 { &mut low } else { &mut high };
        part.record(figure * figure);
        all.record(figure * figure);
    }
    low.add(&high);
    assert_eq!(low, all);
}
