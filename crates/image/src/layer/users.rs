//! `/etc/passwd` and `/etc/group`, see `passwd(5)` and `group(5)`. There is no shadow file: nobody
//! logs in with a password.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use super::plain::file_node;
use super::tree::{Content, Tree};
use crate::deb::Deb;
use crate::spec::{Group, User, UsersSource};
use crate::{Error, Result};

/// Where Debian's package `base-passwd` keeps its users and groups.
const MASTER: &str = "usr/share/base-passwd/";

pub(super) fn add(tree: &mut Tree, at: &str, source: &UsersSource) -> Result<()> {
    let mut accounts = match &source.base {
        Some(path) => Accounts::from_base_passwd(path)?,
        None => Accounts::minimal(),
    };
    for group in &source.groups {
        accounts.add_group(at, group)?;
    }
    for user in &source.users {
        accounts.add_user(at, user)?;
    }
    for user in &source.users {
        accounts.join_groups(at, user)?;
    }
    for (path, text) in [
        ("etc/passwd", accounts.passwd()),
        ("etc/group", accounts.group()),
    ] {
        let content = Content::Bytes(text.into_bytes());
        let mut node = file_node(content, 0o644, 0, 0, &format!("{at} (users)"));
        node.supersedes = true;
        tree.insert(path.to_owned(), node)?;
    }
    Ok(())
}

/// Lines by number, so that the order in the specification does not matter.
#[derive(Default)]
struct Accounts {
    users: BTreeMap<u32, User>,
    groups: BTreeMap<u32, (String, BTreeSet<String>)>,
}

impl Accounts {
    fn minimal() -> Accounts {
        let user = |name: &str, id, home: &str, shell: &str| User {
            name: name.to_owned(),
            uid: id,
            gid: id,
            home: home.to_owned(),
            shell: shell.to_owned(),
            gecos: name.to_owned(),
            groups: Vec::new(),
        };
        let users = [
            user("root", 0, "/root", "/bin/sh"),
            user("nobody", 65534, "/nonexistent", "/usr/sbin/nologin"),
        ];
        let groups = [(0, "root"), (65534, "nogroup")];
        Accounts {
            users: users.into_iter().map(|user| (user.uid, user)).collect(),
            groups: groups
                .into_iter()
                .map(|(gid, name)| (gid, (name.to_owned(), BTreeSet::new())))
                .collect(),
        }
    }

    fn from_base_passwd(path: &Path) -> Result<Accounts> {
        let deb = Deb::open(path)?;
        let damaged = |problem: String| Error::damaged(path.display().to_string(), problem);
        let mut texts = BTreeMap::new();
        let mut data = deb.data()?;
        while let Some(entry) = data
            .next_entry()
            .map_err(|error| damaged(error.to_string()))?
        {
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            let name = name.trim_start_matches("./").strip_prefix(MASTER);
            if let Some(name @ ("passwd.master" | "group.master")) = name {
                let mut text = String::new();
                let mut content = (&mut data).take(1 << 20);
                let read = content.read_to_string(&mut text);
                read.map_err(|error| damaged(error.to_string()))?;
                texts.insert(name.to_owned(), text);
            }
        }
        let text = |name: &str| {
            let missing = || damaged(format!("it has no file {MASTER}{name}"));
            texts.get(name).ok_or_else(missing)
        };
        let parsed = Accounts::parse(text("passwd.master")?, text("group.master")?);
        parsed.map_err(|line| damaged(format!("the line {line:?} is not understood")))
    }

    fn parse(passwd: &str, group: &str) -> Result<Accounts, String> {
        let mut accounts = Accounts::default();
        for line in passwd.lines() {
            let user = parse_user(line).ok_or(line)?;
            accounts.users.insert(user.uid, user);
        }
        for line in group.lines() {
            let (gid, name) = parse_group(line).ok_or(line)?;
            accounts.groups.insert(gid, (name, BTreeSet::new()));
        }
        Ok(accounts)
    }

    fn add_group(&mut self, at: &str, group: &Group) -> Result<()> {
        check_name(at, &group.name)?;
        let taken = self
            .groups
            .iter()
            .find(|(gid, (name, _))| **gid == group.gid || *name == group.name);
        match taken {
            Some((gid, (name, _))) if (*gid, name) == (group.gid, &group.name) => Ok(()),
            Some((gid, (name, _))) => Err(Error::spec(
                format!("{at}.groups"),
                format!(
                    "group {} ({}) clashes with group {name} ({gid})",
                    group.name, group.gid
                ),
                "give it another name and number",
            )),
            None => {
                let value = (group.name.clone(), BTreeSet::new());
                self.groups.insert(group.gid, value);
                Ok(())
            }
        }
    }

    fn add_user(&mut self, at: &str, user: &User) -> Result<()> {
        check_user(at, user)?;
        // What the specification says of root, nobody and the like replaces what is known.
        let clash = self
            .users
            .values()
            .find(|other| (other.uid == user.uid) != (other.name == user.name));
        if let Some(other) = clash {
            return Err(Error::spec(
                format!("{at}.users"),
                format!(
                    "user {} ({}) clashes with user {} ({})",
                    user.name, user.uid, other.name, other.uid
                ),
                "give it another name and number",
            ));
        }
        self.users.insert(user.uid, user.clone());
        if !self.groups.contains_key(&user.gid) {
            let group = Group {
                name: user.name.clone(),
                gid: user.gid,
            };
            self.add_group(at, &group)?;
        }
        Ok(())
    }

    fn join_groups(&mut self, at: &str, user: &User) -> Result<()> {
        for wanted in &user.groups {
            let group = self.groups.values_mut().find(|(name, _)| name == wanted);
            let Some((_, members)) = group else {
                return Err(Error::spec(
                    format!("{at}.users"),
                    format!(
                        "user {} is to be in group {wanted}, which does not exist",
                        user.name
                    ),
                    "add it to groups",
                ));
            };
            members.insert(user.name.clone());
        }
        Ok(())
    }

    fn passwd(&self) -> String {
        let line = |user: &User| {
            let User {
                name,
                uid,
                gid,
                gecos,
                home,
                shell,
                ..
            } = user;
            format!("{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}\n")
        };
        self.users.values().map(line).collect()
    }

    fn group(&self) -> String {
        let line = |(gid, (name, members)): (&u32, &(String, BTreeSet<String>))| {
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            format!("{name}:x:{gid}:{}\n", members.join(","))
        };
        self.groups.iter().map(line).collect()
    }
}

fn parse_user(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, gecos, home, shell] = fields[..] else {
        return None;
    };
    Some(User {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: home.to_owned(),
        shell: shell.to_owned(),
        gecos: gecos.to_owned(),
        groups: Vec::new(),
    })
}

fn parse_group(line: &str) -> Option<(u32, String)> {
    let mut fields = line.split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    Some((gid.parse().ok()?, name.to_owned()))
}

fn check_user(at: &str, user: &User) -> Result<()> {
    check_name(at, &user.name)?;
    for text in [&user.home, &user.shell, &user.gecos] {
        if text.contains([':', '\n', '\0']) {
            return Err(Error::spec(
                format!("{at}.users"),
                format!(
                    "{text:?} of user {} holds a colon or a line break",
                    user.name
                ),
                "/etc/passwd can't hold that",
            ));
        }
    }
    if !user.home.starts_with('/') {
        return Err(Error::spec(
            format!("{at}.users"),
            format!(
                "the home {:?} of user {} is not an absolute path",
                user.home, user.name
            ),
            "write one such as /home/app",
        ));
    }
    Ok(())
}

fn check_name(at: &str, name: &str) -> Result<()> {
    let first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let rest = |byte: u8| first(byte) || byte.is_ascii_digit() || byte == b'-';
    let fine = name.bytes().next().is_some_and(first) && name.bytes().all(rest);
    if fine && name.len() <= 32 {
        return Ok(());
    }
    Err(Error::spec(
        at,
        format!("{name:?} can't be the name of a user or group"),
        "use up to 32 lower-case letters, digits, _ and -, starting with a letter",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(users: &str) -> Result<Accounts> {
        let source: UsersSource = serde_json::from_str(users).unwrap();
        let mut accounts = Accounts::minimal();
        for group in &source.groups {
            accounts.add_group("s", group)?;
        }
        for user in &source.users {
            accounts.add_user("s", user)?;
        }
        for user in &source.users {
            accounts.join_groups("s", user)?;
        }
        Ok(accounts)
    }

    #[test]
    fn users_join_the_standard_ones() {
        let accounts = accounts(
            r#"{"users":[{"name":"app","uid":10001,"gid":10001,"home":"/app","groups":["tty"]}],"groups":[{"name":"tty","gid":5}]}"#,
        )
        .unwrap();
        assert_eq!(
            accounts.passwd(),
            "root:x:0:0:root:/root:/bin/sh\napp:x:10001:10001::/app:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        );
        assert_eq!(
            accounts.group(),
            "root:x:0:\ntty:x:5:app\napp:x:10001:\nnogroup:x:65534:\n"
        );
    }

    #[test]
    fn clashes_and_bad_names_are_refused() {
        for (users, says) in [
            (
                r#"{"users":[{"name":"app","uid":0,"gid":0}]}"#,
                "clashes with user root",
            ),
            (r#"{"users":[{"name":"a:b","uid":1,"gid":1}]}"#, "a:b"),
            (
                r#"{"users":[{"name":"a","uid":1,"gid":1,"home":"/a:b"}]}"#,
                "/a:b",
            ),
            (
                r#"{"users":[{"name":"a","uid":1,"gid":1,"groups":["x"]}]}"#,
                "group x",
            ),
            (
                r#"{"users":[],"groups":[{"name":"x","gid":0}]}"#,
                "clashes with group root",
            ),
        ] {
            let error = accounts(users).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
