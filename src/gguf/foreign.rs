//! What a file is that is no GGUF file, by the bytes that it starts with, and which step makes one of it.

use std::path::Path;

/// How much of a file's start is looked at.
pub(super) const N_LOOKED_AT: u64 = 512;

/// Something that is not a GGUF file, as people are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    pub(super) what: &'static str,
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Weights of a model or adapter, which the role of the file tells apart.
    Convert,
    ConvertLora,
    ConvertAgain,
    Fetch,
    FetchLfs,
    Unpack,
    NameFile,
}

const CONVERT: &str =
    "convert the model's folder with llama.cpp's script: python convert_hf_to_gguf.py FOLDER --outfile MODEL.gguf";
const CONVERT_LORA: &str = "convert the adapter's folder with llama.cpp's script: \
                            python convert_lora_to_gguf.py --base BASE-FOLDER FOLDER --outfile ADAPTER.gguf";

impl Foreign {
    /// The next step; `is_adapter`: it was named as one.
    pub(super) fn hint(&self, is_adapter: bool) -> &'static str {
        match self.next {
            Next::ConvertLora => CONVERT_LORA,
            Next::Convert if is_adapter => CONVERT_LORA,
            Next::Convert => CONVERT,
            Next::ConvertAgain => {
                "today's llama.cpp reads GGUF alone: download the model as GGUF, or convert the original once more with \
                 convert_hf_to_gguf.py (convert_lora_to_gguf.py for an adapter)"
            }
            Next::Fetch => {
                "download the file itself: on the hub its address has /resolve/ in it; -hf user/repo does it"
            }
            Next::FetchLfs => {
                "run `git lfs pull` in the repository, or download the file itself; -hf user/repo does it"
            }
            Next::Unpack => "unpack it, and name the GGUF file in it",
            Next::NameFile => "name the GGUF file in it; of a split model the first one",
        }
    }

    /// By the first bytes of a file, as many as [`N_LOOKED_AT`]; `None` for what is not known here.
    pub(super) fn of(path: &Path, start: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], &str, Next); 17] = [
            (b"version https://git-lfs", "a pointer of git-lfs, not the file that it stands for", Next::FetchLfs),
            (b"lmgg", "a model in ggml's first format, from before GGUF", Next::ConvertAgain),
            (b"fmgg", "a model in the format ggmf, from before GGUF", Next::ConvertAgain),
            (b"tjgg", "a model in the format ggjt, from before GGUF", Next::ConvertAgain),
            (b"algg", "a LoRA adapter in the format ggla, from before GGUF", Next::ConvertAgain),
            (b"\x80\x02", "a PyTorch file", Next::Convert),
            (b"\x80\x04", "a Python pickle", Next::Convert),
            (b"\x89HDF\r\n", "an HDF5 file, as Keras writes them", Next::Convert),
            (b"\x93NUMPY", "a NumPy array", Next::Convert),
            (b"\x1f\x8b", "a gzip archive", Next::Unpack),
            (b"BZh", "a bzip2 archive", Next::Unpack),
            (b"\xfd7zXZ\0", "an xz archive", Next::Unpack),
            (b"\x28\xb5\x2f\xfd", "a zstd archive", Next::Unpack),
            (b"7z\xbc\xaf\x27\x1c", "a 7z archive", Next::Unpack),
            (b"Rar!", "a rar archive", Next::Unpack),
            (b"MZ", "a program; a llamafile is a zip archive too, with its model inside", Next::Unpack),
            (b"\x7fELF", "a program", Next::NameFile),
        ];
        let known = |what, next| Some(Self { what, next });
        if let Some((_, what, next)) = MAGICS.iter().find(|(magic, ..)| start.starts_with(magic)) {
            return known(what, *next);
        }
        if start.starts_with(b"PK\x03\x04") {
            // torch.save writes a zip archive, whose first entry is this.
            let is_torch = start.windows(8).any(|part| part == b"data.pkl");
            return if is_torch {
                known("a PyTorch file", Next::Convert)
            } else {
                known("a zip archive", Next::Unpack)
            };
        }
        if is_safetensors(start) {
            let is_peft =
                path.parent().is_some_and(is_peft) || path.file_name().is_some_and(|name| name == PEFT_WEIGHTS);
            return known("a safetensors file", if is_peft { Next::ConvertLora } else { Next::Convert });
        }
        if start.get(257..262) == Some(b"ustar") {
            return known("a tar archive", Next::Unpack);
        }
        let text = String::from_utf8_lossy(start).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
        match text {
            text if text.starts_with("<!doctype html") || text.starts_with("<html") => known("a web page", Next::Fetch),
            text if text.starts_with("<?xml") => known("an XML text, such as a server's error", Next::Fetch),
            text if text.starts_with('{') => {
                known("a JSON text: a server's error, or a part of a model's folder", Next::Fetch)
            }
            _ if start.len() as u64 == N_LOOKED_AT && start.iter().all(|&byte| byte == 0) => {
                known("empty space, as an interrupted download leaves it", Next::Fetch)
            }
            _ => None,
        }
    }

    /// What a folder holds that was named in place of a file.
    pub(super) fn folder(path: &Path) -> Self {
        let has = |ending: &str| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.take(1000).any(|entry| entry.file_name().to_string_lossy().to_ascii_lowercase().ends_with(ending))
        };
        let (what, next) = if is_peft(path) {
            ("a folder with a PEFT adapter", Next::ConvertLora)
        } else if has(".gguf") {
            ("a folder with GGUF files in it", Next::NameFile)
        } else if path.join("config.json").is_file() || has(".safetensors") {
            ("a folder with a transformers model", Next::Convert)
        } else {
            ("a folder", Next::NameFile)
        };
        Self { what, next }
    }
}

const PEFT_WEIGHTS: &str = "adapter_model.safetensors";

fn is_peft(folder: &Path) -> bool {
    folder.join("adapter_config.json").is_file()
}

/// The length of a JSON header, and the header.
fn is_safetensors(start: &[u8]) -> bool {
    const MAX_HEADER_BYTES: u64 = 100 << 20;
    let Some((len, header)) = start.split_first_chunk::<8>() else { return false };
    (2..=MAX_HEADER_BYTES).contains(&u64::from_le_bytes(*len)) && header.starts_with(b"{")
}

#[cfg(test)]
mod tests {
    use super::super::{Header, adapter};
    use super::*;

    fn safetensors() -> Vec<u8> {
        let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat()
    }

    #[test]
    fn files_of_other_kinds_are_named_with_the_next_step() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.gguf");
        let torch = b"PK\x03\x04\0\0\0\0\0\0\0\0\0\0archive/data.pkl\x80\x02}q\0".to_vec();
        let tar = [vec![b'a'; 257], b"ustar\x0000".to_vec()].concat();
        for (bytes, what, hint) in [
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(),
                "pointer of git-lfs",
                "git lfs pull",
            ),
            (b"\n<!DOCTYPE html><html>".to_vec(), "a web page", "/resolve/"),
            (b"{\"error\":\"Entry not found\"}".to_vec(), "a JSON text", "/resolve/"),
            (safetensors(), "a safetensors file", "convert_hf_to_gguf.py"),
            (torch, "a PyTorch file", "convert_hf_to_gguf.py"),
            (b"\x80\x02\x8a\x0al\xfc".to_vec(), "a PyTorch file", "convert_hf_to_gguf.py"),
            (b"tjgg\x03\0\0\0".to_vec(), "ggjt", "reads GGUF alone"),
            (b"lmgg".to_vec(), "ggml's first format", "reads GGUF alone"),
            (b"\x1f\x8b\x08\0".to_vec(), "a gzip archive", "unpack"),
            (b"PK\x03\x04\x14\0model.gguf".to_vec(), "a zip archive", "unpack"),
            (tar, "a tar archive", "unpack"),
            (b"MZqFpD='\n".to_vec(), "a program", "unpack"),
            (vec![0; 4096], "empty space", "/resolve/"),
            (b"GGUF\0\0\0\x03".to_vec(), "GGUF version 50331648", "gguf_convert_endian.py"),
            (b"something else".to_vec(), "starts with \"some\"", "convert_hf_to_gguf.py"),
            (b"GG".to_vec(), "starts with \"GG\"", "convert_hf_to_gguf.py"),
        ] {
            std::fs::write(&path, &bytes).expect("writable");
            let error = Header::read(&path).expect_err(what);
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.hint().is_some_and(|words| words.contains(hint)), "{what}: {:?}", error.hint());
        }
    }

    #[test]
    fn adapters_have_a_script_of_their_own() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tuned.safetensors");
        std::fs::write(&path, safetensors()).expect("writable");
        let model =
            Header::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/base.gguf"))).expect("a model");
        let hint = |error: super::super::Error| error.hint().unwrap_or_default().to_owned();
        assert!(hint(adapter::check(&path, &model).expect_err("no GGUF")).contains("convert_lora_to_gguf.py"));
        assert!(hint(Header::read(&path).expect_err("no GGUF")).contains("convert_hf_to_gguf.py"));
        std::fs::write(folder.path().join("adapter_config.json"), "{}").expect("writable");
        assert!(hint(Header::read(&path).expect_err("no GGUF")).contains("convert_lora_to_gguf.py"));
        let error = adapter::check(folder.path(), &model).expect_err("a folder");
        assert!(error.to_string().contains("a folder with a PEFT adapter"), "{error}");
        assert!(hint(error).contains("convert_lora_to_gguf.py"));
    }

    #[test]
    fn folders_are_known_by_what_they_hold() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let told = || {
            let error = Header::read(folder.path()).expect_err("a folder");
            (error.to_string(), error.hint().unwrap_or_default())
        };
        assert!(told().0.contains("is a folder, expected a GGUF file"), "{}", told().0);
        std::fs::write(folder.path().join("config.json"), "{}").expect("writable");
        assert!(told().0.contains("a transformers model") && told().1.contains("convert_hf_to_gguf.py FOLDER"));
        std::fs::write(folder.path().join("m.GGUF"), "").expect("writable");
        assert!(told().0.contains("GGUF files in it") && told().1.contains("name the GGUF file"));
    }
}
