//! `ls`, `stat`, `top` in plain form, `doctor` and the small commands, run on real pipes of real processes.

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shmpipe::Backend;

use support::{Helper, checked, label, open, shmpipe, text_of};

const BACKENDS: [Backend; 2] = [Backend::SharedMemory, Backend::Kernel];

#[test]
fn helper() {
    support::play_part();
}

#[test]
fn ls_shows_a_pipe_with_its_holders_fill_and_state() {
    for backend in BACKENDS {
        let label = label("shown");
        let (rx, mut tx) = open(backend, &label);
        for _ in 0..3 {
            tx.send(&[0; 1000]).unwrap();
        }
        let text = text_of(&["ls", &label]);
        let row = text.lines().find(|line| line.starts_with(&label)).unwrap();
        let us = format!("/{}", std::process::id());
        assert_eq!(row.matches(&us).count(), 2, "{row}");
        for part in [backend.to_string().as_str(), "64K", "  5%", " 0 "] {
            assert!(row.contains(part), "{part:?} in {row}");
        }
        assert!(text.starts_with("LABEL"), "{text}");
        drop((rx, tx));
    }
}

#[test]
fn ls_as_json_is_as_its_schema_has_it() {
    for backend in BACKENDS {
        let label = label("json");
        let (rx, mut tx) = open(backend, &label);
        tx.send(b"12345").unwrap();
        for options in [&["ls", "--json"][..], &["ls", "--json", "--kernel"]] {
            let value = checked(&text_of(options));
            let pipes = value["pipes"].as_array().unwrap();
            let ours: Vec<_> = pipes
                .iter()
                .filter(|pipe| pipe["label"] == *label)
                .collect();
            assert_eq!(ours.len(), 1);
            assert_eq!(ours[0]["sender"]["counters"]["bytes"], 5);
            assert_eq!(ours[0]["sender"]["processes"][0]["pid"], std::process::id());
            assert_eq!(ours[0]["backend"], backend.to_string());
        }
        drop(rx);
    }
}

#[test]
fn ls_shows_each_of_a_hundred_pipes_in_fifty_processes_once() {
    let label = label("hundred");
    let holders: Vec<_> = (0..50).map(|_| Helper::holder(2, &label)).collect();
    let begin = Instant::now();
    let text = text_of(&["ls", &label]);
    let took = begin.elapsed();
    let rows: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(&label))
        .collect();
    assert_eq!(rows.len(), 100, "{text}");
    for holder in &holders {
        let id = format!("/{} ", holder.pid());
        assert_eq!(rows.iter().filter(|row| row.contains(&id)).count(), 2);
    }
    println!("found: {took:?} for 100 pipes in 50 processes");
}

#[test]
fn ls_shows_kernel_pipes_of_the_same_processes_where_asked_for() {
    use std::io::Write;
    let label = label("kernel");
    let _ends = open(Backend::SharedMemory, &label);
    let (_reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[0; 4321]).unwrap();
    assert!(!text_of(&["ls"]).contains("KERNEL PIPE"));
    let text = text_of(&["ls", "--kernel"]);
    let row = text
        .lines()
        .find(|line| line.contains(" 4321 "))
        .expect("our pipe");
    assert!(row.contains("64K") && row.starts_with("pipe:["), "{row}");
}

#[test]
fn stat_shows_all_counters_of_a_pipe() {
    for backend in BACKENDS {
        let label = label("counters");
        let (mut rx, mut tx) = open(backend, &label);
        tx.send(&[0; 700]).unwrap();
        tx.send(&[0; 50]).unwrap();
        rx.recv().unwrap();
        let text = text_of(&["stat", &label, "--over", "0.05"]);
        let line = |name: &str| {
            let found = text.lines().find(|line| line.starts_with(name));
            found
                .unwrap_or_else(|| panic!("{name} in {text}"))
                .to_owned()
        };
        for (name, parts) in [
            ("messages ", vec![" 2", " 1"]),
            ("bytes ", vec![" 750", " 700"]),
            ("largest message", vec![" 700"]),
            ("backend", vec!["protocol version 2"]),
            ("aborted", vec![" 0"]),
        ] {
            let line = line(name);
            assert!(
                parts.iter().all(|part| line.contains(part)),
                "{parts:?} in {line}"
            );
        }
        for name in [
            "fullest seen",
            "spins",
            "sleeps",
            "wake-ups rung",
            "wake-ups spared",
            "time blocked",
            "last active",
        ] {
            line(name);
        }
        let pid = std::process::id().to_string();
        assert!(text_of(&["stat", &pid, "--over", "0.05"]).contains(&label));
    }
}

#[test]
fn what_receivers_took_is_marked_where_it_is_estimated() {
    let label = label("estimated");
    let options = shmpipe::PipeOptions::new().backend(Backend::SharedMemory);
    let (mut rx, mut tx) = options.label(&label).capacity(4 << 20).pipe().unwrap();
    tx.send_batch((0..200_000_u64).map(u64::to_ne_bytes))
        .unwrap();
    let taken = rx.recv_batch().unwrap().len();
    let list = text_of(&["ls", &label]);
    let text = text_of(&["stat", &label, "--over", "0.05"]);
    for text in [list, text] {
        assert!(text.contains(&format!(" ~{taken}")), "{text}");
    }
    let value = checked(&text_of(&["ls", &label, "--json"]));
    let counters = |side: &str| value["pipes"][0][side]["counters"]["is_estimate"].clone();
    assert_eq!(
        (counters("sender"), counters("receiver")),
        (false.into(), true.into())
    );
}

/// What `stat --json` says of the only pipe with this label, over half a second.
fn bottleneck(label: &str) -> String {
    let value = checked(&text_of(&["stat", label, "--json"]));
    value["pipes"][0]["rates"]["bottleneck"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_slow_receiver_is_named_by_stat_and_top() {
    for backend in BACKENDS {
        let label = label("slow-receiver");
        let (rx, tx) = open(backend, &label);
        let _receiver = Helper::receiver(rx, Duration::from_millis(5));
        let _sender = Helper::sender(tx, Duration::ZERO);
        // Until the pipe is full there is nobody to wait.
        while bottleneck(&label) != "receiver" {}
        let words = "the receiver is the bottleneck";
        let text = text_of(&["stat", &label]);
        assert!(text.contains(words), "{text}");
        let text = text_of(&["top", "--filter", &label]);
        assert!(text.contains(&format!("{label}: {words}")), "{text}");
    }
}

#[test]
fn a_slow_sender_is_named_by_stat_and_top() {
    for backend in BACKENDS {
        let label = label("slow-sender");
        let (rx, tx) = open(backend, &label);
        let _receiver = Helper::receiver(rx, Duration::ZERO);
        let _sender = Helper::sender(tx, Duration::from_millis(5));
        while bottleneck(&label) != "sender" {}
        let words = "the sender is the bottleneck";
        let text = text_of(&["stat", &label]);
        assert!(text.contains(words), "{text}");
        let text = text_of(&["top", "--filter", &label]);
        assert!(text.contains(&format!("{label}: {words}")), "{text}");
    }
}

#[test]
fn stat_watches_until_the_pipe_is_gone() {
    use std::io::{BufRead, BufReader};
    let label = label("watched");
    let ends = open(Backend::SharedMemory, &label);
    let mut watcher = Command::new(env!("CARGO_BIN_EXE_shmpipe"))
        .args([
            "stat", &label, "--json", "--over", "0.05", "--watch", "0.05",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        checked(&lines.next().unwrap().unwrap());
    }
    drop(ends);
    lines.for_each(|line| drop(checked(&line.unwrap())));
    assert_eq!(watcher.wait().unwrap().code(), Some(0));
}

#[test]
fn stat_of_nothing_ends_with_3_and_names_it() {
    let output = shmpipe(&["stat", "no such label"]);
    assert_eq!(output.status.code(), Some(3));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("no such label"), "{complaint}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_pipe_without_a_label_is_called_by_its_inode() {
    for backend in BACKENDS {
        let options = shmpipe::PipeOptions::new().backend(backend);
        let _ends = options.pipe().unwrap();
        let us = std::process::id().to_string();
        let list = text_of(&["ls", &us]);
        let names = list.lines().filter_map(|line| line.split(' ').next());
        let names: Vec<_> = names.filter(|name| name.starts_with('#')).collect();
        assert!(!names.is_empty(), "{list}");
        for name in names {
            let rows = shmpipe(&["ls", name]);
            let stat = shmpipe(&["stat", name, "--over", "0.05"]);
            // It may be another test's, which has ended since.
            let rows = String::from_utf8(rows.stdout).unwrap();
            let stat = String::from_utf8(stat.stdout).unwrap();
            if text_of(&["ls", &us]).contains(name) {
                assert!(rows.contains(name) && rows.lines().count() >= 2, "{rows}");
                assert!(
                    stat.starts_with(&format!("pipe            {name} ")),
                    "{stat}"
                );
            }
        }
    }
}

#[test]
fn ls_of_nothing_ends_with_3_and_names_it() {
    for options in [
        &["ls", "no such label"][..],
        &["ls", "no such label", "--json"],
    ] {
        let output = shmpipe(options);
        assert_eq!(output.status.code(), Some(3));
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(
            complaint.starts_with("shmpipe: no pipe is called no such label"),
            "{complaint}"
        );
        assert!(output.stdout.is_empty());
    }
    let output = shmpipe(&["ls", "4294967295"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        complaint.contains("no process 4294967295 holds one"),
        "{complaint}"
    );
    assert!(text_of(&["ls", "--help"]).contains("3  ls, stat: no such pipe"));
}

#[test]
fn stat_says_in_one_line_that_the_pipe_it_watched_is_gone() {
    use std::io::{BufRead, BufReader};
    let label = label("goes");
    let ends = open(Backend::SharedMemory, &label);
    let mut watcher = Command::new(env!("CARGO_BIN_EXE_shmpipe"))
        .args(["stat", &label, "--over", "0.05", "--watch", "0.05"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(ends);
    lines.for_each(|line| drop(line.unwrap()));
    let output = watcher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("shmpipe: {label}: the pipe is gone\n"));
}

#[test]
fn a_long_label_is_cut_in_tables_and_nowhere_else() {
    let label = format!("{}{}", label("long"), "-and-longer".repeat(17));
    let _ends = open(Backend::SharedMemory, &label);
    let table = text_of(&["ls", &label]);
    let shown = table.lines().nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(shown.chars().count(), 32);
    let start = shown.strip_suffix('…').unwrap();
    assert!(label.starts_with(start));
    // A note may follow the table, for whom some processes are not readable.
    let found = text_of(&["ls", shown]);
    let rows = found.lines().take_while(|line| !line.is_empty()).skip(1);
    assert_eq!(rows.count(), 1, "what ls shows is a name");
    let top = text_of(&["top", "--plain", "--interval", "0.05", "--filter", &label]);
    assert!(top.contains(shown) && !top.contains(&label), "{top}");
    assert!(text_of(&["stat", &label, "--over", "0.05"]).contains(&label));
    assert_eq!(
        checked(&text_of(&["ls", &label, "--json"]))["pipes"][0]["label"],
        *label
    );
}

#[test]
fn doctor_judges_this_machine_and_tests_both_backends() {
    let output = shmpipe(&["doctor"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in [
        "CPUs",
        "cgroup quota",
        "memfd and seals",
        "futex",
        "memory",
        "pipe-max-size",
        "ptrace scope",
        "huge pages",
        "self-test shm",
        "self-test kernel",
        "round trip",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    checked(&text_of(&["doctor", "--json", "--no-self-test"]));
}

#[test]
fn help_tells_the_exit_codes_and_each_shell_gets_completions() {
    for command in ["ls", "top", "stat", "doctor", "bench"] {
        let text = text_of(&[command, "--help"]);
        assert!(text.contains("Exit codes:"), "{text}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(text_of(&["completions", shell]).contains("shmpipe"));
    }
    assert!(text_of(&["man"]).contains(".TH shmpipe"));
    assert!(text_of(&["man", "ls"]).contains("kernel pipes"));
    for command in ["completions", "man"] {
        assert!(text_of(&["man", command]).contains(".TH shmpipe-"));
    }
}

#[test]
fn a_manual_page_that_there_is_not_is_wrong_usage_and_the_names_are_listed() {
    let output = shmpipe(&["man", "nothing"]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    let names = "ls, top, stat, doctor, bench, completions, man";
    assert!(
        complaint.contains("nothing") && complaint.contains(names),
        "{complaint}"
    );
}

#[test]
fn the_manual_page_tells_how_to_read_those_of_the_commands() {
    let page = text_of(&["man"]);
    assert!(page.contains("shmpipe man ls"), "{page}");
    assert!(!page.contains("help(1)"), "there is none of that");
}
