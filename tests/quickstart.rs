//! The quick start of README.md, line by line in a shell, against the real binary, with and without TLS; and a
//! fetch that goes on where it was cut.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart");

/// A copy of the quick start's folder whose vault listens on a port that is free.
fn copy() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for name in ["idvault.toml", "client.toml", "spec.json", "face.jpg"] {
        let bytes = fs::read(Path::new(FOLDER).join(name)).unwrap();
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => text.replace(":7443", &format!(":{port}")).into_bytes(),
            Err(binary) => binary.into_bytes(),
        };
        fs::write(home.path().join(name), bytes).unwrap();
    }
    home
}

/// The same folder with everybody's profile over TLS, the certificates named like the profiles.
fn copy_for_tls() -> tempfile::TempDir {
    let home = copy();
    let path = home.path().join("client.toml");
    let mut name = "";
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| {
        if line.starts_with("caller = ") {
            return format!("ca = \"certs/ca.pem\"\ncert = \"certs/{name}.pem\"\nkey = \"certs/{name}.key\"");
        }
        name = line.strip_prefix("[profiles.").and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        line.replace("http://", "https://")
    });
    let lines: Vec<_> = lines.collect();
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    home
}

/// The commands of the quick start over TLS.
fn commands_for_tls() -> String {
    let commands = commands().join("\n");
    assert!(commands.contains(" --insecure-loopback"));
    format!("idvault dev-certs --dir certs >> idvault.toml\n{}", commands.replace(" --insecure-loopback", ""))
}

/// The commands of the quick start, without the one that builds.
fn commands() -> Vec<&'static str> {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("## Quick start").expect("README.md has a quick start");
    let (_, block) = rest.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let (build, commands) = block.split_once('\n').unwrap();
    assert_eq!(build, "cargo build --release && export PATH=\"$PWD/target/release:$PATH\" && cd examples/quickstart");
    let lines: Vec<_> = commands.lines().collect();
    assert!(lines.iter().filter(|line| !line.starts_with("  ")).count() < 9, "the quick start has grown");
    lines
}

/// Runs a script in `home`; the vault that it starts ends with it.
fn run(home: &Path, script: &str) -> String {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_idvault"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let script = format!("set -e\ntrap 'kill $(jobs -p)' EXIT\n{script}");
    let out = Command::new("bash").arg("-c").arg(script).current_dir(home).env("PATH", path).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}");
    said
}

/// The fetched records: their folders.
fn records(home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.join("fetched")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Whether a fetched record is the image that was uploaded.
fn is_the_face(record: &Path) -> bool {
    fs::read(record.join("0.jpeg")).unwrap() == fs::read(Path::new(FOLDER).join("face.jpg")).unwrap()
}

#[test]
fn the_quick_start_leads_to_an_image() {
    let home = copy();
    let said = run(home.path(), &commands().join("\n"));
    let records = records(home.path());
    assert_eq!(records.len(), 1, "{said}");
    assert!(is_the_face(records.first().unwrap()));
}

#[test]
fn a_fetch_goes_on_where_it_was_cut_and_a_refusal_says_what_to_do() {
    let home = copy();
    // The folder as a fetch left it that was cut within its first record; then one that is complete.
    let script = format!(
        "{}\n{}",
        commands().join("\n"),
        r#"
        rm -r fetched/????*/
        mkdir fetched/partial && printf half > fetched/partial/0.jpeg
        sed -i 's/"next_position": 1/"next_position": 0/; s/"records": 1/"records": 0/' fetched/fetch.json
        idvault fetch "$job" fetched --profile trainer
        idvault fetch "$job" fetched --profile trainer
        for refused in "fetch $job fetched --epoch 1 --profile trainer" "status --profile trainer" "status --profile nobody" \
            "show tenants/acme/records/1 --profile acme" "put --tenant acme --call-id c --receipt receipt.jws FACE=face.jpg --profile acme"; do
            if idvault $refused; then exit 1; else echo "exit $?"; fi
        done
        record=$(idvault put --tenant acme --call-id check-2 --receipt receipt.jws FACE_IMAGE=face.jpg --profile acme --name)
        idvault shred "$record" --profile acme --json
        idvault completions bash | grep -q idvault
        mkdir man && idvault man man && ls man
        "#
    );
    let said = run(home.path(), &script);
    for wanted in [
        "1 records in fetched; 0 gone, 0 damaged",
        "fetched holds another epoch: name another folder",
        "call as somebody whose role allows it",
        "has no profile \"nobody\"; it has: acme, model-owner, operator, privacy-officer, requester, trainer",
        "must be tenants/{tenant}/records/{record} (INVALID_FIELD)",
        "\"FACE\" is no category",
        "exit 64",
        "exit 70",
        "\"record_count\": 1",
        "idvault-fetch.1",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let [record] = records(home.path()).try_into().unwrap_or_else(|found| panic!("{found:?}"));
    assert!(is_the_face(&record));
}

#[test]
fn everything_else_is_done_by_hand_too() {
    let home = copy();
    let script = r#"
        idvault doctor --config idvault.toml | grep "running, process"
        if idvault doctor --config idvault.toml --verify > busy.txt; then exit 1; else grep "stop the vault first" busy.txt; fi
        record=$(idvault records acme --call-id check-1 --profile acme --name)
        idvault releases "$record" --profile acme | grep "training_jobs: $job"
        idvault releases tenants/acme --subject person-1 --profile privacy-officer --json | grep '"record_count": 1'
        idvault releases "$job" --profile model-owner | grep "record_count: 1"
        idvault records acme --subject person-2 --profile acme --json | grep -x '\[\]'
        idvault tenant list --profile operator --name | grep -x tenants/acme
        idvault job list --profile requester --name | grep -x "$job"
        idvault consent list acme --subject person-1 --profile acme | grep "state: STATE_ACTIVE"
        idvault job create spec.json --validate-only --profile requester | grep "record_count: 1"
        test "$(idvault job list --profile requester --name | wc -l)" = 1

        idvault tenant show acme --profile acme | sed -n 's/^jwks: //p' > old.jwks
        idvault consent key --out new.jwk --kid receipts-2 > new.jwks
        idvault consent prove --key new.jwk --vault quickstart --tenant acme > new.proof
        idvault tenant update acme --jwks old.jwks --jwks new.jwks --proof new.proof --profile acme
        idvault tenant update acme --jwks new.jwks --profile acme
        sign() { idvault consent sign --key $1 --vault quickstart --tenant acme --subject person-2 --purpose TRAIN_FACE_MATCH \
            --category FACE_IMAGE --category LIVENESS_VIDEO --recipient "Models Ltd" --region sg-1; }
        sign new.jwk > new.jws && sign receipts.jwk > old.jws
        sign new.jwk > early.jws
        consent=$(idvault consent register acme early.jws --profile acme --name)
        idvault consent show "$consent" --profile acme | grep "state: STATE_ACTIVE"
        idvault consent withdraw "$consent" --profile acme
        idvault consent show "$consent" --profile acme | grep "state: STATE_WITHDRAWN"
        (printf '\0\0\0\030ftypmp42\0\0\0\0mp42isom'; head -c 20000000 /dev/zero) > video.mp4
        idvault put --tenant acme --call-id check-2 --receipt new.jws FACE_IMAGE=face.jpg LIVENESS_VIDEO=video.mp4 --profile acme
        again="--request-id 8e6f2b1c-3d4e-4f50-9a6b-7c8d9e0f1a2b --collect-time $(date -u +%Y-%m-%dT%H:%M:%SZ -d '+1 minute')"
        one=$(idvault put --tenant acme --call-id check-9 --receipt new.jws FACE_IMAGE=face.jpg $again --profile acme --name)
        test "$one" = "$(idvault put --tenant acme --call-id check-9 --receipt new.jws FACE_IMAGE=face.jpg $again --profile acme --name)"
        idvault shred "$one" --profile acme --name | grep "record_count: 1"
        if idvault put --tenant acme --call-id check-3 --receipt old.jws FACE_IMAGE=face.jpg --profile acme; then exit 1; fi
        idvault tenant update acme --revoke-key receipts-1=2020-01-01T00:00:00Z --profile acme
        idvault consent list acme --subject person-1 --profile acme | grep "state: STATE_INVALIDATED"
        echo text > notice.txt
        idvault tenant update acme --notice-file training=2=notice.txt --metadata keep --retention-days 3 --profile operator
        if idvault tenant update acme --retention-days 3 --profile acme; then exit 1; else echo "exit $?"; fi
        if idvault tenant update acme --profile acme; then exit 1; else echo "exit $?"; fi
        if sign new.jwk > other.jws && idvault put --tenant acme --call-id check-4 --receipt other.jws FACE_IMAGE=face.jpg --profile acme
        then exit 1; fi
        idvault erase acme person-2 --profile privacy-officer | grep "record_count: 1"
        snapshot=$(idvault snapshot create "$job" --profile trainer --name)
        idvault snapshot show "$snapshot" --profile trainer | grep -x "name: $snapshot"
        idvault job revoke "$job" --reason "no longer needed" --profile model-owner
        idvault job show "$job" --profile requester | grep "state: STATE_REVOKED"
        if idvault snapshot create "$job" --profile trainer; then exit 1; fi
        kill %1 && wait %1
        idvault doctor --config idvault.toml | grep "not running"
        idvault doctor --config idvault.toml --verify | grep "parts, .* bytes open"
        rm -r data/ledger/index
        if idvault serve --config idvault.toml --insecure-loopback 2> lost.txt; then exit 1; else grep "doctor --rebuild" lost.txt; fi
        idvault doctor --config idvault.toml --rebuild --verify | grep "made anew"
        printf x | dd of="$(echo data/volumes/*/1.vol)" bs=1 seek=4000 conv=notrunc 2> dd.txt
        if idvault doctor --config idvault.toml --verify > damaged.txt; then exit 1; else grep "part 0: damaged frame" damaged.txt; fi
        rm data/root.cell
        if idvault doctor --config idvault.toml --json > doctor.json; then exit 1; else echo "exit $?"; fi
        grep '"grade": "fail"' doctor.json
        trap - EXIT
    "#;
    let said = run(home.path(), &format!("{}\n{script}", commands().join("\n")));
    for wanted in [
        "CONSENT_KEY_UNKNOWN",
        "NOTICE_UNKNOWN",
        "JOB_NOT_ACTIVE",
        "METADATA_TREATMENT_STRIPPED",
        "METADATA_TREATMENT_UNTOUCHED",
        "size_bytes: 20000024",
        "call as somebody whose role allows it",
        "exit 64",
        "exit 70",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn a_backup_is_taken_and_put_back_by_hand() {
    let home = copy();
    let script = r#"
        refused() { if "$@"; then exit 1; else echo "exit $?"; fi; }
        idvault backup kept --config idvault.toml
        idvault backup again --config idvault.toml --json | grep '"sequence": '
        refused idvault backup kept --config idvault.toml
        refused idvault backup data/kept --config idvault.toml
        refused idvault restore kept --config idvault.toml
        refused idvault restore --complete --config idvault.toml
        refused idvault restore --config idvault.toml
        refused idvault restore kept --complete --config idvault.toml
        idvault erase acme person-1 --profile privacy-officer | grep "record_count: 1"
        kill %1 && wait %1
        rm again/manifest.json
        refused idvault restore again --config idvault.toml
        rm -r data/ledger data/volumes
        idvault restore kept --config idvault.toml
        refused idvault restore --complete --config idvault.toml
        idvault doctor --config idvault.toml | grep -A1 "RESTORED"
        idvault serve --config idvault.toml --insecure-loopback 2> restored.log &
        idvault status --profile operator
        grep "RESTORED" restored.log
        idvault job show "$job" --profile requester | grep "state: STATE_REVOKED"
        refused idvault fetch "$job" fetched --profile trainer
        refused idvault job create spec.json --submit --name --profile requester
        idvault put --tenant acme --call-id check-2 --receipt receipt.jws FACE_IMAGE=face.jpg --profile acme
        idvault erase acme person-1 --profile privacy-officer | grep "record_count: 1"
        idvault restore --complete --config idvault.toml --json
        until grep "no longer RESTORED" restored.log; do :; done
        job=$(idvault job create spec.json --submit --name --profile requester)
        idvault doctor --config idvault.toml | grep -c RESTORED | grep -x 0
        kill %1 && wait %1
        trap - EXIT
    "#;
    let said = run(home.path(), &format!("{}\n{script}", commands().join("\n")));
    for wanted in [
        "kept is not empty",
        "data/kept is inside the data directory",
        "another process holds data",
        "the vault is not RESTORED",
        "has no manifest",
        "has not been served since the backup was put back",
        "next: serve, replay every withdrawal and erasure since then",
        "(RESTORED)",
        "exit 64",
        "exit 70",
        "exit 75",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn an_operator_accepts_the_clock() {
    let home = copy();
    let script = r#"
        refused() { if "$@"; then exit 1; else echo "exit $?"; fi; }
        stop() { kill $!; wait $!; }
        set_clock() { printf '%s\n%s\n' "$1" "$2" > clock.new && mv clock.new clock; }
        doctor() { idvault doctor --config idvault.toml --clock-file clock "$@"; }
        serve() { idvault serve --config idvault.toml --insecure-loopback --clock-file clock 2>> serve.log & idvault status --profile operator; }
        set_clock 2031-03-01T10:00:00Z 100
        refused doctor --accept-clock
        serve
        refused doctor --accept-clock
        doctor | grep "trusted time .* leads by 0s"
        set_clock 2031-03-04T10:00:00Z 100
        until grep "CLOCK_UNTRUSTED" serve.log; do :; done
        refused doctor > doctor.txt
        grep -A1 "CLOCK_UNTRUSTED for 0s, .* leads by 3d 0h; believed in 1d 0h" doctor.txt
        doctor --accept-clock
        until grep "has accepted the clock" serve.log; do :; done
        refused doctor --accept-clock
        idvault status --profile operator --json | grep "2031-03-04T10:00:00Z"
        stop
        # Stopped, and set again between the word and the start: it does not count. Then one that does.
        set_clock 2031-03-20T10:00:00Z 160
        doctor --accept-clock
        doctor | grep "accepted, and not taken yet"
        set_clock 2031-03-30T10:00:00Z 160
        serve
        grep "does not count" serve.log
        stop
        doctor --accept-clock --json
        refused doctor --accept-clock --verify
        serve
        idvault status --profile operator --json | grep "2031-03-30T10:00:00Z"
        stop
        trap - EXIT
    "#;
    let said = run(home.path(), script);
    for wanted in [
        "no vault has saved a clock here",
        "there is nothing to accept",
        "next: set the clock right; if it is right: idvault doctor --accept-clock",
        "trusted time before: 2031-03-01 10:00:00 UTC, after: 2031-03-04 10:00:00 UTC and on; the vault takes it within a second",
        "at its next start",
        "the wall clock was set or the machine was booted since",
        "exit 64",
        "exit 70",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn a_bench_tells_both_sides_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let script = "
        # So short a bench says nothing, and may find the twin slower: 70.
        idvault bench io --seconds 0.01 --clients 2 --largest 70000 --preload 9 --json \\
            --line upload --line fetch_tls --line fetch_cold --line write_amplification --line space_amplification \\
            --line rss_mib --line start_killed_s --line raw_aead > bench.json || test $? = 70
        ls
        set -m
        idvault bench io --seconds 100 2> interrupted.txt & bench=$!
        until ls -d idvault-bench-*/vault/volumes/*; do :; done
        kill -INT $bench
        wait $bench || test $? = 70
        cat interrupted.txt
        ls
        touch root.cell
        if idvault bench io; then exit 1; fi
        trap - EXIT
    ";
    let said = run(home.path(), script);
    assert!(said.contains("interrupted") && said.contains("holds a vault"), "{said}");
    assert!(!fs::read_dir(home.path()).unwrap().any(|entry| entry.unwrap().path().is_dir()), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(home.path().join("bench.json")).unwrap()).unwrap();
    assert!(report["machine"]["cpus"].as_u64().unwrap() > 0);
    let lines = report["lines"].as_array().unwrap();
    let names = [
        "upload",
        "fetch_tls",
        "fetch_cold",
        "write_amplification",
        "space_amplification",
        "rss_mib",
        "start_killed_s",
        "raw_aead",
    ];
    let units = ["MB/s", "MB/s", "MB/s", "x", "x", "MiB", "s", "MB/s"];
    assert_eq!(lines.iter().map(|line| line["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    for (line, unit) in lines.iter().zip(units) {
        let number = |field: &str| line[field].as_f64().unwrap();
        assert!(number("value") > 0.0 && number("reference") > 0.0 && number("ratio") > 0.0);
        assert_eq!(line["unit"], unit);
        assert!(
            line["interval"][0].as_f64().unwrap() <= number("ratio") && number("ratio") <= line["interval"][1].as_f64().unwrap()
        );
    }
}

#[test]
fn the_quick_start_leads_to_an_image_over_tls() {
    use std::os::unix::fs::PermissionsExt;
    let home = copy_for_tls();
    let script = r#"
        idvault show "$(idvault put --tenant acme --call-id check-2 --receipt receipt.jws FACE_IMAGE=face.jpg --profile acme --name)" \
            --profile acme
    "#;
    let said = run(home.path(), &format!("{}\n{script}", commands_for_tls()));
    assert!(said.contains("call_id: check-2"), "{said}");
    let [record] = records(home.path()).try_into().unwrap_or_else(|found| panic!("{found:?}"));
    assert!(is_the_face(&record));
    for entry in fs::read_dir(home.path().join("certs")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_goes_wrong_over_tls_says_what_to_do() {
    let home = copy_for_tls();
    let script = r#"
        idvault dev-certs --dir certs > tls.toml
        idvault dev-certs --dir other --trust-domain other.test --caller sam=person/sam --host 127.0.0.2 --host vault.test > /dev/null
        cp idvault.toml plain.toml && cat tls.toml >> idvault.toml
        url=$(sed -n 's/^server = "\(.*\)"/\1/p;T;q' client.toml)
        write() { printf '[profiles.%s]\nserver = "%s"\n' "$1" "${5-$url}"; printf 'ca = "%s"\ncert = "%s.pem"\nkey = "%s.key"\n' "$2" "$3" "$4"; }
        write stranger certs/ca.pem other/sam other/sam >> client.toml
        write doubter other/ca.pem certs/operator certs/operator >> client.toml
        write mixed certs/ca.pem certs/operator certs/acme >> client.toml
        write lost certs/ca.pem nowhere certs/acme >> client.toml
        write plain certs/ca.pem certs/operator certs/operator "${url/https/http}" >> client.toml
        printf '[profiles.bare]\nserver = "%s"\n[profiles.open]\nserver = "%s"\n' "$url" "${url/https/http}" >> client.toml
        idvault serve --config idvault.toml 2> serve.log &
        idvault status --profile operator
        refused() { if "$@"; then exit 1; else echo "exit $?"; fi; }
        for profile in stranger doubter mixed lost plain bare open acme; do
            echo "as $profile"
            refused idvault status --profile $profile
        done
        refused idvault status --profile operator --as spiffe://example.test/person/olga
        for arguments in "--dir certs" "--dir new --caller olga" "--dir new --caller server=person/olga" "--dir new --caller a=b/c" \
            "--dir new --caller a=person/b --caller a=person/c" "--dir new --trust-domain A" "--dir new --host a..b€"; do
            refused idvault dev-certs $arguments
        done
        test ! -e new
        refused idvault serve --config idvault.toml --insecure-loopback
        refused idvault serve --config plain.toml
    "#;
    let said = run(home.path(), script);
    for wanted in [
        "keyring_generation",
        "refuses the certificate",
        "client_ca must have signed the profile's cert",
        "is not to be trusted",
        "the profile's ca must have signed its certificate",
        "correct ca, cert and key of the profile",
        "nowhere.pem: ",
        "ca, cert and key are for TLS",
        "the profile must have ca, cert and key",
        "With a section [tls] its address is https://",
        "over TLS the certificate says who calls",
        "certs/ca.pem would be overwritten",
        "must be NAME=KIND/ID",
        "neither ca nor server",
        "KIND must be tenant, person or workload",
        "new/a.pem would be overwritten",
        "must be 1 to 255 characters of [a-z0-9._-]",
        "--host: ",
        "--insecure-loopback is for a vault without TLS",
        "there is no section [tls]",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}
