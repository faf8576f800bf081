//! A small file system that can be filled.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use crate::failure::Failure;

/// Mounted for as long as this lives.
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one at `path`. `None` if that is not allowed here.
    pub(crate) fn mount(path: &Path) -> Result<Option<Self>, Failure> {
        fs::create_dir_all(path).map_err(Failure::io("make a directory"))?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", OPTIONS, "haldane-soak"])
            .arg(path)
            .output();
        let is_there = mounted.is_ok_and(|output| output.status.success());
        Ok(is_there.then(|| Self {
            path: path.to_owned(),
        }))
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) -> Result<(), Failure> {
        let doing = || Failure::io("fill the disk");
        let mut file = File::create(self.ballast()).map_err(doing())?;
        loop {
            match file.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(doing()(error)),
            }
        }
    }

    /// Gives the room back.
    pub(crate) fn empty(&self) -> Result<(), Failure> {
        fs::remove_file(self.ballast()).map_err(Failure::io("empty the disk"))
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there keeps it.
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).output();
        if !unmounted.is_ok_and(|output| output.status.success()) {
            eprintln!("haldane-bench: {} is still mounted", self.path.display());
        }
    }
}

/// Room for a state, its evidence and a little of its history.
const OPTIONS: &str = "size=4m,mode=0700";
