//! Draws the cost of each area against size, from what `cargo bench --bench sizes` left in `target/criterion`, as an SVG.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml --bin plot-sizes -- [CRITERION [SVG]]`

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::Value;

type Failure = Box<dyn Error + Send + Sync>;

/// Groups of the bench begin so; the rest is the title of a chart.
const PREFIX: &str = "sizes of ";

/// Charts beside each other.
const COLUMNS: usize = 3;

/// Width and height of a chart in pixels.
const CHART: (u32, u32) = (400, 300);

/// Size of the text in pixels.
const TEXT: u32 = 13;

/// Height of a line of the legend in pixels.
const LINE: f64 = 17.0;

/// A cost by the size of the state, in nanoseconds.
type Curve = BTreeMap<u64, f64>;

/// The curves of each chart, by its title and their names.
type Charts = BTreeMap<String, BTreeMap<String, Curve>>;

fn main() -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let criterion = arguments.next().unwrap_or_else(|| root.join("target/criterion"));
    let svg = arguments.next().unwrap_or_else(|| root.join("docs/cost.svg"));
    let mut charts = Charts::new();
    collect(&criterion, &mut charts).map_err(|error| format!("{}: {error}", criterion.display()))?;
    if charts.is_empty() {
        return Err(format!("{} has no figures; run `cargo bench --bench sizes`", criterion.display()).into());
    }
    draw(&charts, &svg)
}

/// Collects the medians below a directory: each lies in `new/estimates.json`, and its name beside it.
fn collect(directory: &Path, charts: &mut Charts) -> Result<(), Failure> {
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries.iter().filter(|entry| entry.path().is_dir()) {
        if entry.file_name() != "new" {
            collect(&entry.path(), charts)?;
            continue;
        }
        let read =
            |name: &str| -> Result<Value, Failure> { Ok(serde_json::from_slice(&fs::read(entry.path().join(name))?)?) };
        // Groups and reports have a directory of this name, too, with other files.
        let (Ok(names), Ok(estimates)) = (read("benchmark.json"), read("estimates.json")) else { continue };
        let name = |key: &str| names[key].as_str().unwrap_or_default();
        let Some(title) = name("group_id").strip_prefix(PREFIX) else { continue };
        let median = estimates["median"]["point_estimate"].as_f64().ok_or("an estimate has no median")?;
        let curve = charts.entry(title.to_owned()).or_default().entry(name("function_id").to_owned()).or_default();
        curve.insert(name("value_str").parse()?, median);
    }
    Ok(())
}

fn draw(charts: &Charts, path: &Path) -> Result<(), Failure> {
    let rows = charts.len().div_ceil(COLUMNS);
    let size = (CHART.0 * COLUMNS as u32, CHART.1 * rows as u32);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).map_err(|error| error.to_string())?;
    for ((title, curves), area) in charts.iter().zip(area.split_evenly((rows, COLUMNS))) {
        chart(title, curves, &area).map_err(|error| error.to_string())?;
    }
    area.present().map_err(|error| error.to_string().into())
}

/// One chart, both axes logarithmic: a cost in proportion to the state rises as steeply as the plot is wide for each ten.
fn chart(
    title: &str,
    curves: &BTreeMap<String, Curve>,
    area: &DrawingArea<SVGBackend<'_>, Shift>,
) -> Result<(), Box<dyn Error>> {
    let points = || curves.values().flatten();
    let sizes = points().map(|(size, _)| *size as f64);
    let (least, most) = (sizes.clone().fold(f64::MAX, f64::min), sizes.fold(0.0, f64::max));
    let costs = points().map(|(_, cost)| *cost);
    let (cheapest, dearest) = (costs.clone().fold(f64::MAX, f64::min) / 2.0, costs.fold(0.0, f64::max) * 1.5);
    // Room above the curves for their names: that part of the height, and so of the decades.
    let names = (curves.len() as f64 + 1.0) * LINE / f64::from(CHART.1 - 80);
    let dearest = dearest * (dearest / cheapest).powf(names / (1.0 - names));
    let font = ("sans-serif", TEXT);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", TEXT + 3))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(58)
        .build_cartesian_2d((least..most).log_scale(), (cheapest..dearest).log_scale())?;
    chart
        .configure_mesh()
        .disable_mesh()
        .label_style(font)
        .x_desc("nodes (values of a document)")
        .x_labels(4)
        .y_labels(6)
        .x_label_formatter(&|size| grouped(*size))
        .y_label_formatter(&|cost| time(*cost))
        .draw()?;
    for (n, (name, curve)) in curves.iter().enumerate() {
        let color = Palette99::pick(n).to_rgba();
        let line = curve.iter().map(|(size, cost)| (*size as f64, *cost));
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(font)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time for people, from nanoseconds.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e3 => format!("{nanoseconds:.0} ns"),
        ..1e6 => format!("{:.0} µs", nanoseconds / 1e3),
        ..1e9 => format!("{:.0} ms", nanoseconds / 1e6),
        _ => format!("{:.0} s", nanoseconds / 1e9),
    }
}
