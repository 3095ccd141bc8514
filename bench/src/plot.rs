//! Lines in a picture: medians, with the least and the most of all rounds as bars.

use std::fmt::Display;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::spread::Spread;

/// A plot with a logarithmic axis of powers of two.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    /// What the axis across says.
    pub(crate) across: &'static str,
    /// What the axis upwards says.
    pub(crate) up: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// One line.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, Spread)>,
}

const SIZE: (u32, u32) = (760, 440);
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 95, 135),
    RGBColor(200, 80, 20),
    RGBColor(60, 130, 60),
    RGBColor(120, 70, 140),
];

impl Plot {
    /// Writes the picture as SVG.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub(crate) fn draw(&self, file: &Path) -> Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let across = points().map(|(x, _)| *x).fold(2.0, f64::max);
        let up = points().map(|(_, y)| y.max).fold(0.0, f64::max);
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 18))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d((1.0..across * 1.1).log_scale().base(2.0), 0.0..up * 1.1)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(self.across)
            .y_desc(self.up)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .light_line_style(WHITE)
            .draw()
            .map_err(failed)?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let medians = line.points.iter().map(|(x, y)| (*x, y.median));
            chart
                .draw_series(LineSeries::new(medians, colour.stroke_width(2)))
                .map_err(failed)?
                .label(&line.name)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
            let bars = line
                .points
                .iter()
                .map(|(x, y)| PathElement::new([(*x, y.min), (*x, y.max)], colour.stroke_width(4)));
            chart.draw_series(bars).map_err(failed)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)
    }
}

fn failed(error: impl Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_names_its_lines_and_axes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("perf/plot.svg");
        let spread = |median| Spread {
            median,
            min: median * 0.9,
            max: median * 1.1,
        };
        let plot = Plot {
            title: "A title",
            across: "guests",
            up: "calls",
            lines: vec![Line {
                name: "a line".to_owned(),
                points: vec![(1.0, spread(3.0)), (64.0, spread(9.0))],
            }],
        };
        plot.draw(&file).unwrap();
        let svg = std::fs::read_to_string(file).unwrap();
        for text in ["A title", "guests", "calls", "a line", "polyline"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }
}
