//! The curves as a picture: one panel an axis, the cost beside that of its first point.

use super::{Series, axis::Axis, report::Report};

const PANEL_WIDTH: f64 = 240.0;
const PANEL_HEIGHT: f64 = 190.0;
const COLUMNS: usize = 3;
/// The curve's part of a panel.
const LEFT: f64 = 36.0;
const TOP: f64 = 40.0;
const WIDTH: f64 = 176.0;
const HEIGHT: f64 = 110.0;
/// Top of the scale: twice the cost of the first point.
const HIGHEST: f64 = 2.0;

const STYLE: &str = "\
    text { font: 12px system-ui, sans-serif; fill: #24292f; text-anchor: middle }
    .heading { font-weight: 600 }
    .curve { fill: none; stroke: #0969da; stroke-width: 2 }
    .point { fill: #0969da }
    .flat { fill: #8c959f; opacity: 0.25 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .curve { stroke: #58a6ff }
      .point { fill: #58a6ff }
    }";

/// A shaded band shows what counts as flat: within 10 % of the first point.
pub(super) fn svg(report: &Report) -> String {
    let rows = Axis::ALL.len().div_ceil(COLUMNS);
    let (width, height) = (PANEL_WIDTH * COLUMNS as f64, PANEL_HEIGHT * rows as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n  \
         <title>Cost of an event as things grow</title>\n  <style>\n{STYLE}\n  </style>\n"
    );
    for (index, axis) in Axis::ALL.into_iter().enumerate() {
        let (x, y) = ((index % COLUMNS) as f64 * PANEL_WIDTH, (index / COLUMNS) as f64 * PANEL_HEIGHT);
        let series: Vec<&Series> = report.axis(axis).collect();
        let points: Vec<(u64, f64)> =
            series.iter().filter_map(|series| Some((series.point.value, report.ratio(series)?))).collect();
        svg += &format!("  <g transform=\"translate({x} {y})\">\n{}  </g>\n", panel(axis, &points));
    }
    svg + "</svg>\n"
}

fn panel(axis: Axis, points: &[(u64, f64)]) -> String {
    let y = |ratio: f64| TOP + HEIGHT * (1.0 - ratio.min(HIGHEST) / HIGHEST);
    let x = |index: usize| LEFT + WIDTH * index as f64 / (points.len().max(2) - 1) as f64;
    let cost = if axis == Axis::Bytes { "cost per byte" } else { "cost per event" };
    let mut panel = format!(
        "    <text class=\"heading\" x=\"{middle}\" y=\"16\">{cost}: {name}</text>\n    \
         <rect class=\"flat\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{WIDTH}\" height=\"{band:.1}\"/>\n",
        middle = PANEL_WIDTH / 2.0,
        name = axis.name(),
        top = y(1.1),
        band = y(0.9) - y(1.1),
    );
    let place = |(index, (_, ratio)): (usize, &(u64, f64))| format!("{:.1},{:.1}", x(index), y(*ratio));
    let line: Vec<String> = points.iter().enumerate().map(place).collect();
    panel += &format!("    <polyline class=\"curve\" points=\"{}\"/>\n", line.join(" "));
    for (index, (value, ratio)) in points.iter().enumerate() {
        let (x, y) = (x(index), y(*ratio));
        panel += &format!(
            "    <circle class=\"point\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>\n    \
             <text x=\"{x:.1}\" y=\"{:.1}\">{ratio:.2}</text>\n    \
             <text x=\"{x:.1}\" y=\"{:.1}\">{value}</text>\n",
            y - 8.0,
            TOP + HEIGHT + 18.0,
        );
    }
    panel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_from_left_to_right_and_never_above_the_scale() {
        let panel = panel(Axis::Rules, &[(1, 1.0), (5, 1.1), (20, 9.0)]);
        assert!(panel.contains(r#"points="36.0,95.0 124.0,89.5 212.0,40.0""#), "{panel}");
    }
}
