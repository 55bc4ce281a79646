//! What was measured, next to what it is compared with.

use std::process::ExitCode;

/// What a figure must keep.
#[derive(Clone, Copy)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// It is shown to understand the others.
    None,
}

struct Figure {
    what: String,
    /// None = it could not be measured, which is a miss.
    measured: Option<f64>,
    goal: Goal,
    unit: &'static str,
    compared_with: String,
}

impl Figure {
    fn is_missed(&self) -> bool {
        match (self.measured, self.goal) {
            (None, _) => true,
            (Some(measured), Goal::AtMost(most)) => measured > most,
            (Some(measured), Goal::AtLeast(least)) => measured < least,
            (Some(_), Goal::None) => false,
        }
    }

    fn row(&self) -> String {
        let measured = self.measured.map(|number| shown(number, self.unit));
        let goal = match self.goal {
            Goal::AtMost(most) => format!("<= {}", shown(most, self.unit)),
            Goal::AtLeast(least) => format!(">= {}", shown(least, self.unit)),
            Goal::None => String::new(),
        };
        let measured = measured.unwrap_or_else(|| "not measured".to_owned());
        let mark = if self.is_missed() { " (missed)" } else { "" };
        format!(
            "| {} | {measured}{mark} | {goal} | {} |",
            self.what, self.compared_with
        )
    }
}

fn shown(number: f64, unit: &str) -> String {
    let number = format!("{number:.3}");
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number} {unit}").trim_end().to_owned()
}

/// All figures of a run, in order.
#[derive(Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Adds one. `compared_with` says what the number was divided by, or what it holds.
    pub fn add(
        &mut self,
        what: impl Into<String>,
        measured: f64,
        unit: &'static str,
        goal: Goal,
        compared_with: impl Into<String>,
    ) {
        self.push(Figure {
            what: what.into(),
            measured: Some(measured),
            goal,
            unit,
            compared_with: compared_with.into(),
        });
    }

    /// Something could not be measured.
    pub fn fail(&mut self, what: &str, why: &str) {
        self.push(Figure {
            what: what.to_owned(),
            measured: None,
            goal: Goal::None,
            unit: "",
            compared_with: why.replace('\n', " "),
        });
    }

    fn push(&mut self, figure: Figure) {
        eprintln!("{}", figure.row());
        self.0.push(figure);
    }

    /// Prints the table; fails when a figure is missed.
    pub fn report(&self) -> ExitCode {
        println!("| what | measured | goal | compared with |\n| --- | ---: | ---: | --- |");
        for figure in &self.0 {
            println!("{}", figure.row());
        }
        let missed: Vec<&str> = self
            .0
            .iter()
            .filter(|figure| figure.is_missed())
            .map(|figure| figure.what.as_str())
            .collect();
        if missed.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!("missed: {}", missed.join("; "));
        ExitCode::FAILURE
    }
}
