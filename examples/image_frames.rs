//! Frames of an image stream, written and read where they lie in the pipe: `cargo run --example image_frames`.
//!
//! Each side touches each byte once. A ring of eight frames or more keeps a frame in one piece.

mod common;

const WIDTH: usize = 320;
const HEIGHT: usize = 200;
const FRAMES: u8 = 30;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let frame_len = WIDTH * HEIGHT;
    let options = common::options()?.capacity(8 * (frame_len + 8));
    let (mut rx, mut tx) = options.pipe()?;

    let camera = std::thread::spawn(move || -> Result<(), shmpipe::SendError> {
        for number in 0..FRAMES {
            let mut frame = tx.reserve(frame_len)?;
            // A picture is made line by line; here they are of one colour.
            for line in 0..HEIGHT {
                let colour = number.wrapping_add(line as u8);
                frame.write_at(line * WIDTH, &[colour; WIDTH]);
            }
            frame.commit()?;
        }
        Ok(())
    });

    let mut line = [0; WIDTH];
    let mut frames = 0;
    while let Ok(frame) = rx.recv_in_place() {
        // Looks at the line in the middle only; the others are never copied.
        frame.read_at(HEIGHT / 2 * WIDTH, &mut line);
        assert!(line.iter().all(|&pixel| pixel == line[0]));
        frames += 1;
    }
    camera.join().expect("the camera does not panic")?;
    println!("{frames} frames of {WIDTH} x {HEIGHT}, in place");
    Ok(())
}
