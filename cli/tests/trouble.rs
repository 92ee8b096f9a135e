//! What goes wrong: memory that lies, pipes that die while they are looked at, processes that may not be seen, an
//! output that nobody reads, a machine that falls short.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use shmpipe::Backend;

use support::{Helper, checked, label, open, shmpipe, text_of};

/// The command.
const SHMPIPE: &str = env!("CARGO_BIN_EXE_shmpipe");

#[test]
fn helper() {
    support::play_part();
}

#[test]
fn a_lying_pipe_is_an_unreadable_row_and_the_others_are_shown() {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let (good, bad) = (label("good"), label("bad"));
    let _ends = open(Backend::SharedMemory, &good);
    let steering = "\u{1b}[31m\u{7f}\u{9b}1m\u{61c}\u{200b}\u{2028}\u{2029}\u{e0041}";
    let name = format!("shmpipe:{bad}{steering}");
    let forged = memfd_create(name.as_str(), MFdFlags::MFD_ALLOW_SEALING).unwrap();
    nix::unistd::ftruncate(&forged, 8192).unwrap();
    let text = text_of(&["ls"]);
    assert!(text.contains(&good), "{text}");
    let row = text.lines().find(|line| line.contains(&bad)).unwrap();
    assert!(row.contains("unreadable: "), "{row}");
    let steers = |text: &str| {
        let is_left = |char: &char| steering.contains(*char) && !char.is_ascii_graphic();
        text.chars().find(is_left)
    };
    assert_eq!(steers(&text), None, "{text:?}");
    let json = text_of(&["ls", "--json"]);
    assert_eq!(steers(&json), None, "{json:?}");
    let value = checked(&json);
    let labels = value["pipes"].as_array().unwrap().iter();
    let whole = format!("{bad}{steering}");
    assert!(labels.into_iter().any(|pipe| pipe["label"] == *whole));
}

#[test]
fn memory_that_is_no_pipe_is_told_of_as_a_person_would() {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let memory = |label: &str, seals: SealFlag| {
        let name = format!("shmpipe:{label}");
        let memory = memfd_create(name.as_str(), MFdFlags::MFD_ALLOW_SEALING).unwrap();
        nix::unistd::ftruncate(&memory, 8192).unwrap();
        fcntl(&memory, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        memory
    };
    let (bare, sealed) = (label("bare"), label("sealed"));
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    let _memories = [memory(&bare, SealFlag::F_SEAL_GROW), memory(&sealed, seals)];
    for (label, reason) in [
        (
            &bare,
            "its memory is not sealed by F_SEAL_SEAL, F_SEAL_SHRINK",
        ),
        (
            &sealed,
            "its memory is no segment of a pipe: it begins with 00 00 00 00 00 00 00 00",
        ),
    ] {
        let value = checked(&text_of(&["ls", label, "--json"]));
        assert_eq!(value["pipes"][0]["unreadable"], reason);
        let row = text_of(&["ls", label]).lines().nth(1).unwrap().to_owned();
        let cells: Vec<_> = row.split_whitespace().take(9).collect();
        assert_eq!(cells, [label, "?", "?", "-", "-", "-", "-", "-", "-"]);
        assert!(row.ends_with(&format!("  unreadable: {reason}")), "{row}");
        let stat = text_of(&["stat", label, "--over", "0.05"]);
        assert!(
            stat.contains(&format!("memory          {reason}\n")),
            "{stat}"
        );
        let top = text_of(&["top", "--plain", "--interval", "0.05", "--filter", label]);
        let cells: Vec<_> = top.lines().nth(1).unwrap().split_whitespace().collect();
        let unknown = ["?", "?", "-", "-", "-", "-", "-", "?"];
        assert_eq!((cells[0], &cells[1..]), (&**label, &unknown[..]));
        assert!(
            top.contains(&format!("\n{label}: unreadable: {reason}\n")),
            "{top}"
        );
    }
}

/// The memory of the pipe of this process with this label.
fn memory(label: &str) -> File {
    let wanted = format!("/memfd:shmpipe:{label} (deleted)");
    let is_it = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == &*wanted)
    };
    let mut entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let found = entries.find(is_it).expect("our own pipe");
    let mut options = File::options();
    options.read(true).write(true).open(found.path()).unwrap()
}

#[test]
fn a_pipe_whose_memory_is_wrong_is_unreadable_to_every_command() {
    // Offsets of docs/protocol.md: version, tail, the first header.
    let cases: [(&str, u64, u64, &str); 3] = [
        ("version", 0x008, 7 | 1 << 32, "protocol version 7"),
        ("position", 0x098, 1 << 40, "further apart"),
        ("header", 4096, 0xdead_beef, "0xdeadbeef"),
    ];
    for (what, offset, word, words) in cases {
        let label = label(what);
        let (_rx, mut tx) = open(Backend::SharedMemory, &label);
        tx.send(b"12345678").unwrap();
        memory(&label)
            .write_all_at(&word.to_ne_bytes(), offset)
            .unwrap();
        for arguments in [
            &["ls", &label][..],
            &["stat", &label, "--over", "0.05"],
            &["top", "--plain", "--interval", "0.05", "--filter", &label],
        ] {
            let text = text_of(arguments);
            assert!(text.contains(words), "{arguments:?}: {text}");
        }
        let value = checked(&text_of(&["ls", &label, "--json"]));
        let why = value["pipes"][0]["unreadable"].as_str().unwrap();
        assert!(why.contains(words) && !why.contains("unreadable"), "{why}");
        checked(&text_of(&["stat", &label, "--json", "--over", "0.05"]));
    }
}

#[test]
fn pipes_that_die_while_they_are_looked_at_are_no_trouble() {
    let label = label("churn");
    let mut churners: Vec<_> = (0..2).map(|_| Helper::churner(&label)).collect();
    for round in 0..20 {
        let value = checked(&text_of(&["ls", "--json"]));
        for pipe in value["pipes"].as_array().unwrap() {
            let is_ours = pipe["label"] == *label;
            if let Some(why) = pipe["unreadable"].as_str().filter(|_| is_ours) {
                // One that is just being made has no seals yet, or no head.
                let is_unborn = ["is not sealed", "begins with"]
                    .iter()
                    .any(|words| why.contains(words));
                assert!(is_unborn, "{why}");
            }
        }
        text_of(&["ls", "--kernel"]);
        text_of(&["top", "--plain", "--interval", "0.05"]);
        // Its process dies too, and another one comes.
        churners[round % 2] = Helper::churner(&label);
    }
    let output = shmpipe(&["stat", &label, "--over", "0.05"]);
    let code = output.status.code();
    assert!(code == Some(0) || code == Some(3), "{code:?}");
}

#[test]
fn what_may_not_be_seen_is_told_in_one_line() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: only root can be somebody else");
        return;
    }
    // Where everybody can run it.
    let copy = std::env::temp_dir().join(format!("shmpipe-{}", std::process::id()));
    // By another process: a child that another test forks while this one writes would keep the copy from being run
    // (ETXTBSY).
    let copied = Command::new("cp").arg(SHMPIPE).arg(&copy).status();
    assert!(copied.unwrap().success());
    let label = label("private");
    let _ends = open(Backend::SharedMemory, &label);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&copy);
        let output = command.args(arguments).uid(65_534).gid(65_534).output();
        output.unwrap()
    };
    let (list, stat, json) = (run(&["ls"]), run(&["stat", &label]), run(&["ls", "--json"]));
    fs::remove_file(&copy).unwrap();
    let text = String::from_utf8(list.stdout).unwrap();
    assert_eq!(list.status.code(), Some(0), "{text}");
    assert!(!text.contains(&label), "{text}");
    let last = text.lines().last().unwrap();
    assert!(
        last.ends_with("not readable; run as root for all"),
        "{text}"
    );
    let complaint = String::from_utf8(stat.stderr).unwrap();
    assert_eq!(stat.status.code(), Some(3));
    assert!(complaint.contains("run as root for all"), "{complaint}");
    let value = checked(&String::from_utf8(json.stdout).unwrap());
    assert!(value["unreadable_processes"].as_u64().unwrap() > 0);
}

#[test]
fn doctor_ends_with_4_where_a_pipe_cannot_be_made_and_says_what_to_do() {
    let run = |json: &str| {
        // One descriptor is what the program's loader needs; whoever runs the tests may have left it open.
        let script = format!("exec 3>&-; ulimit -n 4; exec {SHMPIPE} doctor --no-self-test {json}");
        Command::new("sh").args(["-c", &script]).output().unwrap()
    };
    let output = run("");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(4), "{text}");
    for line in ["PROBLEM  shared memory", "PROBLEM  kernel pipes"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.contains("raise it by ulimit -n"), "{text}");
    let value = checked(&String::from_utf8(run("--json").stdout).unwrap());
    let findings = value["findings"].as_array().unwrap();
    for finding in findings {
        let is_well = finding["judgement"] == "ok";
        assert_eq!(is_well, finding["remedy"] == "", "{finding}");
    }
}

#[test]
fn doctor_names_the_limit_on_the_size_of_files() {
    let script = format!("ulimit -f 8; exec {SHMPIPE} doctor");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let shared_memory = text.split("note     shared memory").nth(1).expect(&text);
    let remedy = shared_memory.lines().nth(1).unwrap();
    assert!(remedy.contains("RLIMIT_FSIZE"), "{text}");
    assert!(!text.contains("allow that call"), "{text}");
    assert!(!text.contains("please report"), "{text}");
}

#[test]
fn doctor_tells_whether_huge_pages_can_be_had() {
    use shmpipe::PipeOptions;
    let size = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    let size = size.ok().and_then(|size| size.trim().parse().ok());
    let options = PipeOptions::new().backend(Backend::SharedMemory);
    let works = size.is_some_and(|size| options.capacity(size).huge_pages(true).pipe().is_ok());
    let text = text_of(&["doctor", "--no-self-test"]);
    let line = text
        .lines()
        .find(|line| line.contains(" huge pages "))
        .unwrap();
    let words = if works {
        "PipeOptions::huge_pages works"
    } else {
        "PipeOptions::huge_pages does not work"
    };
    assert!(line.contains(words), "{text}");
}

#[test]
fn a_closed_output_is_no_failure_and_no_panic() {
    let label = label("closed");
    let _ends = open(Backend::SharedMemory, &label);
    let commands: [&[&str]; 11] = [
        &["ls"],
        &["ls", "--json"],
        &["stat", &label, "--over", "0.05"],
        &["top", "--interval", "0.05"],
        &["doctor", "--no-self-test"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["ls", "--help"],
        &["stat", &label, "--over", "0.05", "--watch", "0.05"],
        &[
            "bench",
            "--seconds",
            "0.1",
            "--modes",
            "ping-pong",
            "--sizes",
            "8",
        ],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(SHMPIPE)
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let commands: [&[&str]; 7] = [
        &["ls"],
        &["--help"],
        &["ls", "--help"],
        &["help", "ls"],
        &["--version"],
        &["man"],
        &["completions", "bash"],
    ];
    for arguments in commands {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(SHMPIPE)
            .args(arguments)
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("shmpipe: "));
    }
}
