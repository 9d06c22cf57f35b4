mod support;
use support::*;
#[test]
fn look() {
    let d = tempfile::tempdir().unwrap();
    let mut s = open_missing(d.path());
    (1..40).for_each(|e| apply_epoch(&mut s, e));
    drop(s);
    apply_epoch(&mut open_at(d.path()), 40);
    for e in std::fs::read_dir(d.path().join("windows")).unwrap() { let e = e.unwrap(); println!("{:?} {}", e.path(), e.metadata().unwrap().len()); }
    let w = windows_after(40); println!("{} windows", w.len());
    let db = d.path().join("windows/db");
    let bytes = std::fs::read(&db).unwrap();
    // corruption at each 16 KiB: what is found
    let mut line = String::new();
    for at in (0..bytes.len()).step_by(32*1024) {
        let t = tempfile::tempdir().unwrap();
        let st = std::process::Command::new("cp").arg("-r").arg(d.path().join("windows")).arg(t.path()).status().unwrap(); assert!(st.success());
        let mut b = bytes.clone();
        for x in &mut b[at..(at + 32*1024).min(bytes.len())] { *x ^= 0x55; }
        std::fs::write(t.path().join("windows/db"), b).unwrap();
        line += &match open(t.path()) { tidegate_state::Opened::At(s) => format!("{} ", s.base().unwrap().epoch), tidegate_state::Opened::Damaged{reason} => format!("D({}) ", &reason[..reason.len().min(60)]), _ => "M ".into() };
    }
    println!("{line}");
}
