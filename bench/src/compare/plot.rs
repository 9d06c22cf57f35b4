//! The figures as bars: an SVG that follows the reader's light or dark scheme.

use super::{Program, Spread, figures::Figure, report::Report};

const WIDTH: f64 = 720.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 130.0;
const LONGEST: f64 = 480.0;
const BAR: f64 = 22.0;
const STEP: f64 = 32.0;
/// From the top of a panel to its first bar.
const HEADING: f64 = 34.0;
const PANEL: f64 = HEADING + STEP * Program::ALL.len() as f64 + 14.0;

const STYLE: &str = "\
    text { font: 14px system-ui, sans-serif; fill: #24292f }
    .heading { font-weight: 600 }
    .bar { fill: #8c959f }
    .tidegate { fill: #0969da }
    .whisker { stroke: #24292f; stroke-width: 1.5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .bar { fill: #6e7681 }
      .tidegate { fill: #58a6ff }
      .whisker { stroke: #e6edf3 }
    }";

/// Speed and cost of the programs: medians as bars, with whiskers from the lowest to the highest.
pub(super) fn svg(report: &Report) -> String {
    let panels = [
        ("Events per second, start-up included (more is better)", Figure::EventsPerSecond),
        ("CPU µs per event (less is better)", Figure::CpuMicros),
    ];
    let height = PANEL * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n  \
         <title>Benchmarks of Tidegate</title>\n  <style>\n{STYLE}\n  </style>\n"
    );
    for (index, (heading, figure)) in panels.into_iter().enumerate() {
        panel(&mut svg, report, heading, figure, PANEL * index as f64);
    }
    svg + "</svg>\n"
}

fn panel(svg: &mut String, report: &Report, heading: &str, figure: Figure, top: f64) {
    *svg += &format!("  <text class=\"heading\" x=\"0\" y=\"{}\">{heading}</text>\n", top + 18.0);
    let spreads = Program::ALL.map(|program| (program, report.spread(program, figure)));
    let highest = spreads.iter().filter_map(|(_, spread)| Some(spread.as_ref()?.max)).fold(0.0, f64::max);
    for (index, (program, spread)) in spreads.into_iter().enumerate() {
        if let Some(spread) = spread {
            let y = top + HEADING + STEP * index as f64;
            bar(svg, program, spread, figure, LONGEST / highest, y);
        }
    }
}

fn bar(svg: &mut String, program: Program, spread: Spread, figure: Figure, scale: f64, y: f64) {
    let class = if program == Program::Tidegate { "bar tidegate" } else { "bar" };
    let (middle, baseline) = (y + BAR / 2.0, y + BAR / 2.0 + 5.0);
    let x = |value: f64| LEFT + value * scale;
    *svg += &format!(
        "  <text x=\"0\" y=\"{baseline:.1}\">{program}</text>\n  \
         <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\n  \
         <line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>\n  \
         <text x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>\n",
        spread.median * scale,
        x(spread.min),
        x(spread.max),
        x(spread.max) + 8.0,
        figure.show(spread.median),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::report::tests::sample;

    #[test]
    fn bars_are_as_long_as_their_medians_and_stay_within_the_picture() {
        let svg = svg(&sample());
        assert_eq!(svg.matches("<rect").count(), 6);
        // 200,000 events/s of at most 500,000.
        assert!(svg.contains(r#"class="bar tidegate" x="130" y="98.0" width="192.0""#), "{svg}");
        assert!(svg.contains("prefers-color-scheme: dark"));
        let closed = svg.matches("</text>").count() + svg.matches("</title>").count();
        assert_eq!(svg.matches("<text").count() + 1, closed);
    }
}
