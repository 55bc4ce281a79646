//! The form that narrows the page down.

use std::fmt::Write as _;

use super::super::secret::State;
use super::super::status::Status;
use super::super::view::Query;
use super::Safe;

/// The form that narrows the page down, where there is enough to narrow down, or it is narrow already.
pub(super) fn render(html: &mut String, status: &Status, query: &Query) {
    let is_filtered = query.is_filtered();
    if !is_filtered && status.counts.secrets < 10 {
        return;
    }
    let _ = write!(
        html,
        "<form method=\"get\" role=\"search\">\n<label>Name, place or token id <input type=\"search\" name=\"q\" value=\"{}\"></label>\n\
         <label>Environment <select name=\"environment\">\n<option value=\"\">all</option>\n",
        Safe(&query.text)
    );
    for environment in status
        .services
        .iter()
        .filter_map(|service| service.environment.as_deref())
    {
        let selected = match environment == query.environment {
            true => " selected",
            false => "",
        };
        let _ = writeln!(html, "<option{selected}>{}</option>", Safe(environment));
    }
    *html += "</select></label>\n";
    for label in &query.labels {
        let _ = writeln!(
            html,
            "<label>Label <input name=\"label\" value=\"{}\"></label>",
            Safe(label)
        );
    }
    *html += "<label>State <select name=\"state\">\n<option value=\"\">all</option>\n";
    for state in State::ALL {
        let selected = match query.state == Some(state) {
            true => " selected",
            false => "",
        };
        let _ = writeln!(
            html,
            "<option value=\"{}\"{selected}>{}</option>",
            state.as_str(),
            state.words()
        );
    }
    *html += "</select></label>\n<button>Show</button>";
    if is_filtered {
        *html += " <a href=\"/\">all secrets</a>";
    }
    *html += "\n</form>\n";
}
