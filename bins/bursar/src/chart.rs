//! A line chart over time as SVG: written by hand, because a chart of money needs exact figures and little
//! else.
//!
//! Coordinates are decimals to 2 places. The text says all that the lines show, for readers who cannot see
//! them. Colours are told apart by brightness too, on light and on dark ground.

use bursar_ledger::EquityPoint;
use bursar_model::{InexactError, Usd, decimal};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

/// One picture with a panel per account, one below the other.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) panels: Vec<Panel>,
}

/// The worth of one account, and how far it is below its peak.
pub(crate) struct Panel {
    /// Above the lines.
    pub(crate) name: String,
    /// What the lines show, in a sentence.
    pub(crate) summary: String,
    /// In the order of time.
    pub(crate) curve: Vec<EquityPoint>,
    /// For each point of the curve, in percent of the peak before it.
    pub(crate) below_peak: Vec<Decimal>,
    /// What came in and went out, to be marked.
    pub(crate) marks: Vec<(Timestamp, String)>,
}

const WIDTH: i64 = 860;
const LEFT: i64 = 110;
const RIGHT: i64 = 840;
const HEAD: i64 = 56;
/// From the top of a panel.
const LINE: (i64, i64) = (28, 228);
const FALL: (i64, i64) = (250, 320);
const DATES: i64 = 340;
const PANEL: i64 = 372;

const STYLE: &str = "\
.ground{fill:#ffffff}.text{fill:#24292f}.faint{fill:#57606a}.grid{stroke:#d0d7de}\
.equity{stroke:#0550ae;fill:none;stroke-width:2}.point{fill:#0550ae}\
.fall{fill:#cf222e;fill-opacity:.35;stroke:#a40e26}.flow{stroke:#57606a;stroke-dasharray:3 3}\
@media(prefers-color-scheme:dark){.ground{fill:#0d1117}.text{fill:#e6edf3}.faint{fill:#9198a1}\
.grid{stroke:#3d444d}.equity{stroke:#79c0ff}.point{fill:#79c0ff}\
.fall{fill:#ff7b72;stroke:#ffa198}.flow{stroke:#9198a1}}";

/// A stretch of values, and the stretch of the picture on which they lie.
#[derive(Clone, Copy, Debug)]
struct Axis {
    from: Decimal,
    to: Decimal,
    starts: Decimal,
    ends: Decimal,
}

impl Axis {
    /// A stretch without length gets one, so that its value lies in the middle.
    fn new(from: Decimal, to: Decimal, (starts, ends): (i64, i64)) -> Result<Self, InexactError> {
        let (from, to) = if from == to {
            (decimal::sub(from, Decimal::ONE)?, decimal::add(to, Decimal::ONE)?)
        } else {
            (from, to)
        };
        Ok(Self {
            from,
            to,
            starts: starts.into(),
            ends: ends.into(),
        })
    }

    /// Where a value lies, to the nearest hundredth.
    fn at(&self, value: Decimal) -> Result<Decimal, InexactError> {
        let part = decimal::sub(value, self.from)?
            .checked_div(decimal::sub(self.to, self.from)?)
            .ok_or(InexactError)?;
        let along = part
            .checked_mul(decimal::sub(self.ends, self.starts)?)
            .ok_or(InexactError)?;
        let exact = self.starts.checked_add(along).ok_or(InexactError)?;
        Ok(exact.round_dp(2).normalize())
    }

    /// Round values on the axis, at most six of them.
    fn ticks(&self) -> Result<Vec<Decimal>, InexactError> {
        let step = step(decimal::div_up(
            decimal::sub(self.to, self.from)?,
            Decimal::from(5),
        )?)?;
        let mut tick = decimal::mul(decimal::div_up(self.from, step)?.ceil(), step)?;
        let mut ticks = Vec::new();
        while tick <= self.to {
            ticks.push(tick.normalize());
            tick = decimal::add(tick, step)?;
        }
        Ok(ticks)
    }
}

/// The smallest of 1, 2, 5, 10, 20, 50 and so on, or of their tenths, that is not below `least`.
fn step(least: Decimal) -> Result<Decimal, InexactError> {
    let mut unit = Decimal::new(1, 12);
    loop {
        for times in [1, 2, 5] {
            let step = decimal::mul(unit, Decimal::from(times))?;
            if step >= least {
                return Ok(step);
            }
        }
        unit = decimal::mul(unit, Decimal::TEN)?;
    }
}

impl Chart {
    /// The picture. The same figures always make the same bytes.
    pub(crate) fn to_svg(&self) -> Result<String, InexactError> {
        let height = HEAD + PANEL * i64::try_from(self.panels.len()).map_err(|_| InexactError)?;
        let mut svg = Svg::default();
        svg.line(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\" \
             font-family=\"system-ui,sans-serif\" font-size=\"12\">"
        ));
        let summaries: Vec<&str> = self.panels.iter().map(|panel| panel.summary.as_str()).collect();
        svg.line(format_args!(
            "<title id=\"title\">{}</title>",
            escaped(&self.title)
        ));
        svg.line(format_args!(
            "<desc id=\"desc\">{}</desc>",
            escaped(&summaries.join(" "))
        ));
        svg.line(format_args!("<style>{STYLE}</style>"));
        svg.line(format_args!(
            "<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>"
        ));
        svg.line(format_args!(
            "<text class=\"text\" x=\"20\" y=\"32\" font-size=\"16\" font-weight=\"600\">{}</text>",
            escaped(&self.title)
        ));
        for (number, panel) in (0_i64..).zip(&self.panels) {
            panel.draw(HEAD + PANEL * number, &mut svg)?;
        }
        svg.line(format_args!("</svg>"));
        Ok(svg.0)
    }
}

impl Panel {
    fn draw(&self, top: i64, svg: &mut Svg) -> Result<(), InexactError> {
        svg.line(format_args!("<g class=\"panel\">"));
        svg.label("text", (20, top + 14), "start", &self.name);
        // A clock that was set back makes the last point not the latest.
        let times = extent(self.curve.iter().map(|point| point.at));
        let worth = extent(self.curve.iter().map(|point| point.equity.amount()));
        let (Some((first, last)), Some((low, high))) = (times, worth) else {
            svg.label("faint", (20, top + 40), "start", &self.summary);
            svg.line(format_args!("</g>"));
            return Ok(());
        };
        svg.label("faint", (RIGHT, top + LINE.0 - 8), "end", "time-weighted equity");
        svg.label("faint", (RIGHT, top + FALL.0 - 6), "end", "below the peak");
        let times = Axis::new(millis(first), millis(last), (LEFT, RIGHT))?;
        // Higher values lie further up.
        let worth = Axis::new(low, high, (top + LINE.1, top + LINE.0))?;
        let deepest = self.below_peak.iter().copied().max().unwrap_or_default();
        let below = Axis::new(
            Decimal::ZERO,
            deepest.max(Decimal::ONE),
            (top + FALL.0, top + FALL.1),
        )?;
        for tick in worth.ticks()? {
            svg.rule(worth.at(tick)?, &Usd::new(tick).to_string());
        }
        svg.rule(below.at(below.from)?, "0 %");
        svg.rule(below.at(below.to)?, &format!("-{} %", below.to.normalize()));
        draw_dates((first, last), &times, top + DATES, svg)?;
        for (at, what) in &self.marks {
            // One that was seen before the first reading or after the last lies at the edge.
            let x = times.at(millis((*at).max(first).min(last)))?;
            svg.line(format_args!(
                "<line class=\"flow\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\"><title>{}</title></line>",
                top + LINE.0,
                top + LINE.1,
                escaped(what)
            ));
        }
        let mut line = Vec::new();
        let mut area = Vec::new();
        for (point, fallen) in self.curve.iter().zip(&self.below_peak) {
            let x = times.at(millis(point.at))?;
            line.push(format!("{x},{}", worth.at(point.equity.amount())?));
            area.push(format!("{x},{}", below.at(*fallen)?));
        }
        // Down from the line of no fall at either end.
        let corner = |end: Option<&EquityPoint>| match end {
            Some(point) => Ok(format!("{},{}", times.at(millis(point.at))?, top + FALL.0)),
            None => Err(InexactError),
        };
        area.insert(0, corner(self.curve.first())?);
        area.push(corner(self.curve.last())?);
        svg.line(format_args!(
            "<polygon class=\"fall\" points=\"{}\"/>",
            area.join(" ")
        ));
        svg.line(format_args!(
            "<polyline class=\"equity\" points=\"{}\"/>",
            line.join(" ")
        ));
        if let Some((x, y)) = line.last().and_then(|end| end.split_once(',')) {
            svg.line(format_args!(
                "<circle class=\"point\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>"
            ));
        }
        svg.line(format_args!("</g>"));
        Ok(())
    }
}

/// The time at five places, with the hour where the whole curve takes less than three days.
fn draw_dates(
    (first, last): (Timestamp, Timestamp),
    times: &Axis,
    y: i64,
    svg: &mut Svg,
) -> Result<(), InexactError> {
    let whole = last.duration_since(first);
    let form = if whole < SignedDuration::from_hours(72) {
        "%m-%d %H:%M"
    } else {
        "%Y-%m-%d"
    };
    let quarters: i32 = if whole.is_positive() { 4 } else { 0 };
    for number in 0..=quarters {
        let at = first + whole / 4 * number;
        let x = times.at(millis(at))?;
        // Nothing of the first and the last is outside of the picture.
        let anchor = match number {
            0 => "start",
            4 => "end",
            _ => "middle",
        };
        svg.line(format_args!(
            "<text class=\"faint\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
            at.strftime(form)
        ));
    }
    Ok(())
}

/// The least and the greatest; `None` of nothing.
fn extent<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<(T, T)> {
    values.fold(None, |extent, value| match extent {
        None => Some((value, value)),
        Some((least, greatest)) => Some((value.min(least), value.max(greatest))),
    })
}

fn millis(at: Timestamp) -> Decimal {
    at.as_millisecond().into()
}

/// The document as it grows.
#[derive(Default)]
struct Svg(String);

impl Svg {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.push_str(&format!("{line}\n"));
    }

    fn label(&mut self, class: &str, (x, y): (i64, i64), anchor: &str, text: &str) {
        self.line(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(text)
        ));
    }

    /// A line across, with what it stands for.
    fn rule(&mut self, y: Decimal, text: &str) {
        self.line(format_args!(
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{RIGHT}\" y2=\"{y}\"/>"
        ));
        self.line(format_args!(
            "<text class=\"faint\" x=\"{}\" y=\"{y}\" dy=\"4\" text-anchor=\"end\">{}</text>",
            LEFT - 8,
            escaped(text)
        ));
    }
}

/// Text from outside as XML: nothing in it is markup, and nothing that XML does not allow is in it.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for character in crate::render::harmless(text).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('?'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn panel(points: &[(&str, Decimal)]) -> Panel {
        let point = |(at, equity): &(&str, Decimal)| EquityPoint {
            at: at.parse().unwrap(),
            equity: Usd::new(*equity),
        };
        let curve: Vec<EquityPoint> = points.iter().map(point).collect();
        Panel {
            name: "a <b> & \"c\"\u{1b}[2J".to_owned(),
            summary: "it's </desc>".to_owned(),
            below_peak: bursar_ledger::below_peak(&curve).unwrap(),
            curve,
            marks: vec![("2026-11-20T12:00:00Z".parse().unwrap(), "<in>".to_owned())],
        }
    }

    fn drawn(panels: Vec<Panel>) -> String {
        let title = "One & all".to_owned();
        Chart { title, panels }.to_svg().unwrap()
    }

    #[test]
    fn text_from_outside_is_no_markup() {
        let text = drawn(vec![panel(&[("2026-11-20T12:00:00Z", dec!(1))])]);

        let svg = roxmltree::Document::parse(&text).unwrap();
        let texts: Vec<&str> = svg.descendants().filter_map(|node| node.text()).collect();
        for expected in ["One & all", "a <b> & \"c\"?[2J", "it's </desc>", "<in>"] {
            assert!(texts.contains(&expected), "{expected}: {texts:?}");
        }
    }

    #[test]
    fn one_point_lies_in_the_middle_of_its_panel_and_a_second_panel_below_the_first() {
        let one = || panel(&[("2026-11-20T12:00:00Z", dec!(1000))]);

        let text = drawn(vec![one(), one()]);

        let svg = roxmltree::Document::parse(&text).unwrap();
        let circles = svg.descendants().filter(|node| node.has_tag_name("circle"));
        let places: Vec<_> = circles
            .map(|node| (node.attribute("cx").unwrap(), node.attribute("cy").unwrap()))
            .collect();
        assert_eq!(places, [("475", "184"), ("475", "556")]);
    }

    #[test]
    fn a_clock_that_was_set_back_draws_nothing_outside() {
        let text = drawn(vec![panel(&[
            ("2026-11-20T12:00:00Z", dec!(10)),
            ("2026-11-22T12:00:00Z", dec!(12)),
            ("2026-11-19T12:00:00Z", dec!(11)),
        ])]);

        let svg = roxmltree::Document::parse(&text).unwrap();
        let line = svg.descendants().find(|node| node.has_tag_name("polyline"));
        assert_eq!(
            line.unwrap().attribute("points"),
            Some("353.33,284 840,84 110,184")
        );
    }

    #[test]
    fn the_places_on_an_axis_are_round_and_few() {
        for (from, to, expected) in [
            (
                dec!(1000),
                dec!(1003.79),
                vec![dec!(1000), dec!(1001), dec!(1002), dec!(1003)],
            ),
            (
                dec!(-1),
                dec!(1),
                vec![dec!(-1), dec!(-0.5), dec!(0), dec!(0.5), dec!(1)],
            ),
            (
                dec!(7),
                dec!(99_999),
                vec![dec!(20_000), dec!(40_000), dec!(60_000), dec!(80_000)],
            ),
            (
                dec!(0.00012),
                dec!(0.00014),
                vec![
                    dec!(0.00012),
                    dec!(0.000125),
                    dec!(0.00013),
                    dec!(0.000135),
                    dec!(0.00014),
                ],
            ),
        ] {
            let axis = Axis::new(from, to, (0, 100)).unwrap();

            assert_eq!(axis.ticks().unwrap(), expected, "{from} to {to}");
        }
    }
}
