//! Questions of a program in a cell to the system. Each answer is a line of its own.

use std::ffi::CString;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::{fs, io, mem, ptr};

/// The beginning of a line with an answer. All other lines are the test harness's.
pub(crate) const MARK: &str = "answer: ";

fn say(question: &str, answer: impl std::fmt::Display) {
    println!("\n{MARK}{question}: {answer}");
}

/// Prints the result of a system call.
fn result(question: &str, result: impl TryInto<i64>) {
    let result = result.try_into().unwrap_or(-1);
    if result < 0 {
        say(question, io::Error::last_os_error());
    } else {
        say(question, "succeeds");
    }
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// Asks all questions. `/build/file` must exist.
pub(crate) fn ask() {
    openings();
    names();
    links();
    processes();
    datagrams();
    unspecified();
    bad_addresses();
}

fn openings() {
    use libc::{
        O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR, O_TMPFILE, O_TRUNC,
        O_WRONLY,
    };
    let flags = [
        ("O_RDONLY", O_RDONLY),
        ("O_WRONLY", O_WRONLY),
        ("O_RDWR", O_RDWR),
        ("O_PATH", O_PATH | O_WRONLY),
        ("O_RDONLY|O_NOFOLLOW", O_RDONLY | O_NOFOLLOW),
        ("O_RDONLY|O_TRUNC", O_RDONLY | O_TRUNC),
        ("O_WRONLY|O_TRUNC", O_WRONLY | O_TRUNC),
        ("O_WRONLY|O_APPEND", O_WRONLY | O_APPEND),
        ("O_RDONLY|O_CREAT", O_RDONLY | O_CREAT),
        ("O_WRONLY|O_CREAT", O_WRONLY | O_CREAT),
        ("O_WRONLY|O_CREAT|O_TRUNC", O_WRONLY | O_CREAT | O_TRUNC),
        ("O_WRONLY|O_CREAT|O_EXCL", O_WRONLY | O_CREAT | O_EXCL),
        ("O_RDWR|O_TMPFILE", O_RDWR | O_TMPFILE),
    ];
    // A program, a missing one, a directory, a link to a program, and one below a file.
    for path in [
        "/usr/bin/env",
        "/usr/bin/absent",
        "/usr/absent/absent",
        "/usr/bin",
        "/bin/sh",
        "/usr/bin/env/absent",
    ] {
        for (name, flags) in flags {
            // SAFETY: the path ends in a zero byte and outlives the call.
            let file = unsafe { libc::open(c(path).as_ptr(), flags, 0o644) };
            result(&format!("open {path} {name}"), file);
        }
    }
}

fn names() {
    for path in [
        "/usr/bin/env",
        "/usr/bin/absent",
        "/usr/bin",
        "/bin/sh",
        "/x",
    ] {
        let name = c(path);
        let target = c("/build/file");
        // SAFETY: the paths end in a zero byte and outlive the calls.
        unsafe {
            result(&format!("mkdir {path}"), libc::mkdir(name.as_ptr(), 0o755));
            result(&format!("rmdir {path}"), libc::rmdir(name.as_ptr()));
            result(&format!("unlink {path}"), libc::unlink(name.as_ptr()));
            result(&format!("chmod {path}"), libc::chmod(name.as_ptr(), 0o644));
            result(
                &format!("truncate {path}"),
                libc::truncate(name.as_ptr(), 0),
            );
            result(
                &format!("symlink {path}"),
                libc::symlink(target.as_ptr(), name.as_ptr()),
            );
            result(
                &format!("access {path} to write"),
                libc::access(name.as_ptr(), libc::W_OK),
            );
            result(
                &format!("times of {path}"),
                libc::utimes(name.as_ptr(), ptr::null()),
            );
        }
    }
}

fn links() {
    fs::create_dir("/w/directory").unwrap();
    for (from, to) in [
        ("/usr/bin/env", "/w/env"),
        ("/usr/bin/absent", "/w/env"),
        ("/usr/bin/env", "/build/file"),
        ("/usr/bin/env", "/usr/bin/other"),
        ("/usr/bin/env", "/usr/bin/sh"),
        ("/usr/bin/env", "/etc/env"),
        ("/build/file", "/w/file"),
        ("/build/file", "/m/file"),
        ("/build/file", "/tmp/file"),
        ("/build/file", "/usr/bin/file"),
        ("/build/file", "/w/directory"),
        ("/build/file", "/build/linked"),
        ("/build/file", "/build/linked"),
        ("/build/file", "/build/absent/linked"),
        ("/build/linked", "/build/moved"),
    ] {
        let (old, new) = (c(from), c(to));
        // SAFETY: the paths end in a zero byte and outlive the calls.
        unsafe {
            result(
                &format!("link {from} {to}"),
                libc::link(old.as_ptr(), new.as_ptr()),
            );
            if from != "/build/file" {
                result(
                    &format!("rename {from} {to}"),
                    libc::rename(old.as_ptr(), new.as_ptr()),
                );
            }
        }
    }
    for place in ["/build", "/w", "/m"] {
        unnamed(place);
    }
}

/// Gives a name to a file that has none.
fn unnamed(place: &str) {
    let directory = c("/build");
    // SAFETY: the paths end in a zero byte and outlive the calls.
    unsafe {
        let file = libc::open(directory.as_ptr(), libc::O_TMPFILE | libc::O_RDWR, 0o644);
        let (old, new) = (
            c(&format!("/proc/self/fd/{file}")),
            c(&format!("{place}/named")),
        );
        let (here, follow) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
        result(
            &format!("name a file in {place}"),
            libc::linkat(here, old.as_ptr(), here, new.as_ptr(), follow),
        );
    }
}

fn processes() {
    let read = |path: &str| fs::read_to_string(path).unwrap();
    say("own name", read("/proc/self/comm").trim());
    for line in read("/proc/self/status").lines() {
        if ["Uid:", "Gid:", "TracerPid:"]
            .iter()
            .any(|name| line.starts_with(name))
        {
            say("status", line);
        }
    }
    say(
        "name of the machine",
        read("/proc/sys/kernel/hostname").trim(),
    );
    fs::write(
        "/build/script",
        "#!/bin/sh\ncat /proc/$$/comm; cat /proc/self/comm\n",
    )
    .unwrap();
    succeeds(Command::new("chmod").args(["755", "/build/script"]));
    std::os::unix::fs::symlink("/usr/bin/cat", "/build/another").unwrap();
    say(
        "names of a script and its child",
        succeeds(&mut Command::new("/build/script")),
    );
    let mut another = Command::new("/build/another");
    say("name of a link", succeeds(another.arg("/proc/self/comm")));
    say(
        "program of a link",
        succeeds(Command::new("/usr/bin/sh").args(["-c", "echo $0"])),
    );
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .replace('\n', " ")
}

/// sendmsg(2) to the path of a socket.
fn datagrams() {
    let socket = UnixDatagram::bind("/build/socket").unwrap();
    socket.set_nonblocking(true).unwrap();
    // Ask also by a path that is short inside and another one outside.
    std::env::set_current_dir("/build").unwrap();
    for path in ["/build/socket", "socket", "/w/socket", "/usr/bin/env"] {
        result(&format!("sendmsg {path}"), send(path));
        let mut text = [0; 16];
        match socket.recv(&mut text) {
            Ok(size) => say("received", String::from_utf8_lossy(&text[..size])),
            Err(error) => say("received", error),
        }
    }
}

fn send(path: &str) -> isize {
    // SAFETY: all of them are structures of numbers and pointers, for which zero is a value.
    let (mut address, mut header): (libc::sockaddr_un, libc::msghdr) =
        unsafe { (mem::zeroed(), mem::zeroed()) };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from as libc::c_char;
    }
    let text = b"hello";
    let mut part = libc::iovec {
        iov_base: text.as_ptr().cast_mut().cast(),
        iov_len: text.len(),
    };
    header.msg_name = (&raw mut address).cast();
    header.msg_namelen = (2 + path.len() + 1) as u32;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    // SAFETY: the header names the address and the text, which outlive the call.
    unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0);
        let sent = libc::sendmsg(socket, &raw const header, 0);
        let error = *libc::__errno_location();
        libc::close(socket);
        *libc::__errno_location() = error;
        sent
    }
}

/// Addresses of the family `AF_UNSPEC`, which some sockets take for addresses of IPv4.
fn unspecified() {
    let (datagrams, stream) = (libc::SOCK_DGRAM, libc::SOCK_STREAM);
    for (name, family, kind) in [
        ("IPv4 datagrams", libc::AF_INET, datagrams),
        ("IPv4 stream", libc::AF_INET, stream),
        ("IPv6 datagrams", libc::AF_INET6, datagrams),
        ("IPv6 stream", libc::AF_INET6, stream),
        ("UNIX datagrams", libc::AF_UNIX, datagrams),
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW),
    ] {
        // Of a network (RFC 5737), without a port, to many, and of the loopback.
        for (host, port) in [
            ([192, 0, 2, 1], 9),
            ([192, 0, 2, 1], 0),
            ([224, 0, 0, 1], 9),
            ([127, 0, 0, 1], 9),
            ([0, 0, 0, 0], 9),
        ] {
            for size in [16, 15, 2] {
                let address = ipv4(libc::AF_UNSPEC, host, port);
                let what = format!("{name}: {size} bytes of no family, {host:?}:{port}");
                ask_socket(&what, (family, kind), &address, size);
            }
        }
    }
    // The same questions about an address of IPv4. A stream ignores it unless it connects.
    for host in [[192, 0, 2, 1], [127, 0, 0, 1]] {
        for size in [16, 15] {
            let address = ipv4(libc::AF_INET, host, 9);
            let what = format!("IPv4 datagrams: {size} bytes of IPv4, {host:?}");
            ask_socket(&what, (libc::AF_INET, datagrams), &address, size);
        }
    }
}

fn ipv4(family: i32, host: [u8; 4], port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: family as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(host),
        },
        sin_zero: [0; 8],
    }
}

/// Connects a socket, and sends datagrams in two ways from others that are not connected.
fn ask_socket(
    what: &str,
    (family, kind): (i32, i32),
    address: &libc::sockaddr_in,
    size: libc::socklen_t,
) {
    let name = (&raw const *address).cast::<libc::sockaddr>();
    let text = b"hello";
    let mut part = libc::iovec {
        iov_base: text.as_ptr().cast_mut().cast(),
        iov_len: text.len(),
    };
    // SAFETY: it is a structure of numbers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = name.cast_mut().cast();
    header.msg_namelen = size;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    // SAFETY: the address has `size` bytes at least. It and the text outlive the calls.
    unsafe {
        let ask = |call: &str, made: &dyn Fn(i32) -> isize| {
            let socket = libc::socket(family, kind | libc::SOCK_NONBLOCK, 0);
            result(&format!("{call} {what}"), made(socket));
            libc::close(socket);
        };
        ask("connect", &|socket| {
            libc::connect(socket, name, size) as isize
        });
        ask("sendto", &|socket| {
            let flags = libc::MSG_NOSIGNAL;
            libc::sendto(socket, text.as_ptr().cast(), text.len(), flags, name, size)
        });
        ask("sendmsg", &|socket| {
            libc::sendmsg(socket, &raw const header, libc::MSG_NOSIGNAL)
        });
    }
}

/// Addresses where there is no memory, or too little.
fn bad_addresses() {
    let page = 4096;
    let (access, kind) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the mapping is new. The calls get addresses in it, and must say that they are bad.
    unsafe {
        let pages = libc::mmap(ptr::null_mut(), 2 * page, access, kind, -1, 0);
        libc::mprotect(pages, page, libc::PROT_READ | libc::PROT_WRITE);
        let end = pages.cast::<u8>().add(page);
        pages.write_bytes(b'x', page);
        let program = c("/usr/bin/env");
        for distance in [1, 4, 8] {
            let bad = end.sub(distance);
            let vector = bad.cast();
            result(
                &format!("execve with arguments {distance} bytes before the end"),
                libc::execve(program.as_ptr(), vector, ptr::null()),
            );
            result(
                &format!("open a path {distance} bytes before the end"),
                libc::open(bad.cast(), libc::O_RDONLY),
            );
            result(
                &format!("sendmsg with a header {distance} bytes before the end"),
                libc::sendmsg(0, bad.cast(), 0),
            );
            result(
                &format!("uname to {distance} bytes before the end"),
                libc::uname(bad.cast()),
            );
        }
        let nowhere = ptr::null_mut();
        result("getresuid", libc::getresuid(nowhere, nowhere, nowhere));
        result("getcwd", libc::syscall(libc::SYS_getcwd, 1, 4096));
        result("fstat", libc::fstat(0, ptr::null_mut()));
    }
}
