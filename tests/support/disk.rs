//! A disk that can be filled.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::Path,
    process::{Command, Stdio},
};

/// A small file system of its own.
pub struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where mounting is not permitted.
    pub fn mount(at: &'a Path, mebibytes: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        let size = format!("size={mebibytes}m");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(at))
    }

    pub fn fill(&self) {
        // As much as fits; the error at the end is what it is for.
        let zeros = vec![0; 1 << 16];
        let file = fs::File::create(self.0.join("filler")).unwrap();
        let mut at = 0;
        while let Ok(written @ 1..) = file.write_at(&zeros, at) {
            at += written as u64;
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
