//! The table, with what it was measured on above it and the file's digest below.

use std::fmt;
use std::time::Duration;

use comfy_table::{Cell as TableCell, CellAlignment, Table, presets};

use super::Cell;
use super::pair::Placement;
use super::payload::Material;
use super::statistics::Summary;
use super::systems::{Capacity, System};
use super::units::{scaled, size, three_digits, times};
use super::workloads::Workload;
use crate::machine;

/// Everything that is printed.
pub(crate) struct Report<'a> {
    /// The measurements.
    pub(crate) cells: &'a [Cell],
    /// Buffer sizes in use.
    pub(crate) capacity: Capacity,
    /// The file that was sent.
    pub(crate) material: &'a Material,
    /// CPUs that the bench could choose from.
    pub(crate) usable: &'a [usize],
    /// Length of a slice.
    pub(crate) slice: Duration,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_machine(f)?;
        writeln!(f, "{}", self.table())?;
        self.write_file(f)?;
        f.write_str(
            "\nAgainst the kernel pipe: the raw one in the same round; median of the rounds, and the best.\nRaw means blocking reads and writes of whole \
             messages on the descriptor. Round trips are not halved. MB = 10^6 bytes.\nThe far end \
             checked the number of each message and read every byte.\n",
        )
    }
}

impl Report<'_> {
    fn rounds(&self) -> usize {
        self.cells.first().map_or(0, |cell| cell.rounds.len())
    }

    fn write_machine(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine   {}", machine::cpu_model())?;
        writeln!(f, "kernel    Linux {}", machine::kernel_release())?;
        writeln!(f, "date      {}", machine::date())?;
        if let Some(cell) = self.cells.first() {
            let usable = self.usable.len();
            let Placement { driver, peer } = cell.placement;
            if cell.placement.is_one_cpu() {
                writeln!(
                    f,
                    "CPUs      both processes on CPU {driver}: no other is usable"
                )?;
            } else {
                writeln!(
                    f,
                    "CPUs      {driver} and {peer} of {usable} usable; one CPU: {driver}"
                )?;
            }
        }
        writeln!(
            f,
            "capacity  {} each way (F_SETPIPE_SZ, the same for shmpipe); SO_SNDBUF {}",
            size(self.capacity.pipe),
            size(self.capacity.socket)
        )?;
        writeln!(
            f,
            "method    {} rounds, systems interleaved in slices of {} ms, medians of the slices",
            self.rounds(),
            self.slice.as_millis()
        )
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL).set_header([
            "workload",
            "system",
            "round trip\nµs",
            "one way\nmessages/s",
            "one way\nMB/s",
            "against the\nkernel pipe",
            "best\nround",
        ]);
        for cell in self.cells {
            table.add_row(group(cell));
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn write_file(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Material {
            path,
            bytes,
            is_cut,
            digest,
            ..
        } = self.material;
        let part = if *is_cut { "the first " } else { "" };
        let checks = self.rounds() * System::ALL.len();
        writeln!(
            f,
            "file      {} ({part}{})",
            path.display(),
            size(bytes.len())
        )?;
        writeln!(
            f,
            "SHA-256   {digest} ok: the same at the far end after each of {checks} slices"
        )
    }
}

/// One row of the table, in which each cell has a line for each system.
fn group(cell: &Cell) -> Vec<TableCell> {
    let workload = Workload::ALL[cell.workload];
    let lines = System::ALL
        .iter()
        .enumerate()
        .filter_map(|(index, system)| {
            Some(figures(
                workload,
                *system,
                &Summary::of(&cell.rounds, index)?,
            ))
        });
    let mut columns: [Vec<String>; 6] = Default::default();
    for line in lines {
        for (column, text) in columns.iter_mut().zip(line) {
            column.push(text);
        }
    }
    let label = format!("{workload}\n{}", place(cell.placement));
    std::iter::once(label)
        .chain(columns.into_iter().map(|column| column.join("\n")))
        .map(TableCell::new)
        .collect()
}

/// The texts of one system: name, three figures of which some do not apply, two ratios.
fn figures(workload: Workload, system: System, summary: &Summary) -> [String; 6] {
    let against = |ratio| match system {
        System::KernelPipe => "-".to_owned(),
        _ => times(ratio),
    };
    let per_second = summary.seconds_per_message.recip();
    let [round_trip, messages, megabytes] = if workload.is_two_way() {
        [
            three_digits(summary.seconds_per_message * 1e6),
            "-".into(),
            "-".into(),
        ]
    } else {
        let megabytes = per_second * summary.bytes_per_message / 1e6;
        [
            "-".into(),
            scaled(per_second).trim_end().to_owned(),
            three_digits(megabytes),
        ]
    };
    [
        system.to_string(),
        round_trip,
        messages,
        megabytes,
        against(summary.ratio),
        against(summary.best_ratio),
    ]
}

fn place(placement: Placement) -> &'static str {
    if placement.is_one_cpu() {
        "both on one CPU"
    } else {
        "on two CPUs"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: Summary = Summary {
        seconds_per_message: 2e-6,
        bytes_per_message: 65_536.0,
        ratio: 41.27,
        best_ratio: 120.4,
    };

    #[test]
    fn a_ping_pong_has_a_round_trip_and_no_rate() {
        let line = figures(Workload::PingPong(65_536), System::SharedMemory, &SUMMARY);
        assert_eq!(
            line,
            [
                "shmpipe, shared memory",
                "2.00",
                "-",
                "-",
                "41.3× faster",
                "120× faster"
            ]
        );
    }

    #[test]
    fn one_way_has_rates_and_no_round_trip() {
        let line = figures(Workload::OneWay(65_536), System::KernelPipe, &SUMMARY);
        assert_eq!(line[1..], ["-", "500 k", "32768", "-", "-"]);
    }
}
