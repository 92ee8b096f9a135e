//! Keeps the transcripts of `docs/tools.md` true.

#[test]
fn the_command_prints_what_the_document_shows() {
    let cases = trycmd::TestCases::new();
    cases.case("../docs/tools.md");
    cases.run();
}
