//! The manual page of one command: what clap knows of it, and what `dtrotate::cli::manual` explains.

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use dtrotate::cli::manual;

type Section = fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>;

/// What clap_mangen writes before each section.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// The name of the page's file, and the page.
pub fn page(command: &clap::Command) -> (String, String) {
    let man = Man::new(command.clone()).source(format!("dtrotate {}", env!("CARGO_PKG_VERSION")));
    let mut text = vec![];
    let sections: [Section; 5] = [
        Man::render_title,
        Man::render_name_section,
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
    ];
    for section in sections {
        section(&man, &mut text).expect("a section");
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)
            .expect("a section");
    }
    let name = man.get_filename();
    let text = String::from_utf8(text).expect("text");
    // Each section defines the apostrophe again.
    let (head, rest) = text.split_at(text.find(".SH").expect("a section"));
    let mut text = head.to_owned() + &rest.replace(APOSTROPHE, "");
    text += &explained(command.get_name(), command.has_subcommands());
    (name, text)
}

/// EXAMPLES, FILES, ENVIRONMENT, EXIT STATUS, SEE ALSO.
fn explained(command: &str, has_subcommands: bool) -> String {
    let manual = manual::of(command);
    let mut page = Roff::new();
    let mut list = |title: &str, pairs: Vec<(String, &str)>| {
        if pairs.is_empty() {
            return;
        }
        page.control("SH", [title]);
        for (term, meaning) in pairs {
            page.control("TP", []);
            page.text([bold(term)]);
            page.text([roman(meaning)]);
        }
    };
    let pairs = |pairs: &[(&'static str, &'static str)]| -> Vec<_> {
        let owned = pairs
            .iter()
            .map(|(term, meaning)| ((*term).to_owned(), *meaning));
        owned.collect()
    };
    list("EXAMPLES", pairs(manual.examples));
    list("FILES", pairs(manual.files));
    list("ENVIRONMENT", pairs(manual.environment));
    let codes = manual.exit_status.iter();
    list(
        "EXIT STATUS",
        codes
            .map(|(code, meaning)| (code.to_string(), *meaning))
            .collect(),
    );
    page.control("SH", ["SEE ALSO"]);
    let others = if has_subcommands { "" } else { "dtrotate(1), " };
    page.text([roman(format!("{others}dtrotate.toml(5)"))]);
    page.to_roff()
}
