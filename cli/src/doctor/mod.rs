//! `shmpipe doctor`: what of this machine matters to pipes, each with a judgement and the remedy.

mod checks;
mod self_test;

use std::fmt;

use clap::Args;
use serde::Serialize;

use crate::look::json;
use crate::outcome::{Failure, print};
use shmpipe_measure::machine;

/// Options of `shmpipe doctor`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Print one JSON object (cli/schema/shmpipe.schema.json)
    #[arg(long)]
    json: bool,

    /// Leave out the self-test
    #[arg(long)]
    no_self_test: bool,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Judgement {
    /// As it should be.
    Ok,
    /// It works, and one may want to know or change it.
    Note,
    /// Something does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// What it is.
    pub(crate) what: &'static str,
    pub(crate) judgement: Judgement,
    /// What was found.
    pub(crate) found: String,
    /// What it means and what to do about it; empty where there is nothing to do.
    pub(crate) remedy: String,
}

#[derive(Serialize)]
struct Report {
    format: u32,
    findings: Vec<Finding>,
}

impl Finding {
    pub(crate) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what,
            judgement: Judgement::Ok,
            found: found.into(),
            remedy: String::new(),
        }
    }

    pub(crate) fn note(
        what: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            judgement: Judgement::Note,
            remedy: remedy.into(),
            ..Self::ok(what, found)
        }
    }

    pub(crate) fn problem(
        what: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            judgement: Judgement::Problem,
            ..Self::note(what, found, remedy)
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "PROBLEM",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<8} {:<18} {}", self.judgement, self.what, self.found)?;
        for line in self.remedy.lines() {
            writeln!(f, "{:<27} {line}", "")?;
        }
        Ok(())
    }
}

/// Looks at everything and prints it.
///
/// # Errors
///
/// [`Failure::Problem`] where something does not work.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut findings = vec![Finding::ok("machine", machine::cpu_model())];
    findings.extend(checks::all());
    if !options.no_self_test {
        findings.extend(self_test::both());
    }
    let has_problem = findings
        .iter()
        .any(|finding| finding.judgement == Judgement::Problem);
    if options.json {
        print(&json::line(&Report {
            format: 1,
            findings,
        })?)?;
    } else {
        let lines: String = findings.iter().map(ToString::to_string).collect();
        print(&lines)?;
    }
    if has_problem {
        Err(Failure::Problem)
    } else {
        Ok(())
    }
}
