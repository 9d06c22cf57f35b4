//! The modules of a crate, and which module a path leads to.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Attribute, Item, ItemMod, Path, UseTree,
    visit::{self, Visit},
};

use super::tree::{Tree, parse};
use crate::Error;

/// Imports that lead to one another are followed so far.
const MAX_HOPS: usize = 16;

/// The modules of one crate; the first is its root.
#[derive(Debug, Default)]
pub(super) struct Modules(Vec<Module>);

#[derive(Debug, Default)]
struct Module {
    file: String,
    parent: usize,
    children: BTreeMap<String, usize>,
    /// What is imported, by the name that it has here.
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// What is defined here.
    own: BTreeSet<String>,
    /// Paths that are used, and where.
    paths: Vec<(Vec<String>, usize)>,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Module(usize),
    /// Something that this module defines.
    ItemOf(usize),
}

/// That one file needs another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    pub(super) from: String,
    pub(super) to: String,
    /// Where in `from` this is first seen.
    pub(super) line: usize,
}

impl Modules {
    /// Reads the crate whose root is this file. Modules that only tests have are left out.
    pub(super) fn read(tree: &Tree, root: &str) -> Result<Self, Error> {
        let mut modules = Self::default();
        let text = tree.text(root).unwrap_or_default();
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        modules.add(tree, 0, root, folder, parse(root, text)?.items)?;
        Ok(modules)
    }

    /// Adds a module and those below it, whose files are in `folder`.
    fn add(
        &mut self,
        tree: &Tree,
        parent: usize,
        file: &str,
        folder: &str,
        items: Vec<Item>,
    ) -> Result<usize, Error> {
        let id = self.0.len();
        self.0.push(Module { file: file.to_owned(), parent, ..Module::default() });
        for item in items {
            if is_of_tests(attributes(&item)) {
                continue;
            }
            match item {
                Item::Mod(module) => {
                    if let Some((name, child)) = self.child(tree, id, file, folder, module)? {
                        self.0[id].children.insert(name, child);
                    }
                }
                item => self.0[id].take(&item),
            }
        }
        Ok(id)
    }

    fn child(
        &mut self,
        tree: &Tree,
        parent: usize,
        file: &str,
        folder: &str,
        module: ItemMod,
    ) -> Result<Option<(String, usize)>, Error> {
        let name = module.ident.to_string();
        let below = format!("{folder}/{name}");
        if let Some((_, items)) = module.content {
            return Ok(Some((name, self.add(tree, parent, file, &below, items)?)));
        }
        let files = [format!("{below}.rs"), format!("{below}/mod.rs")];
        let Some((file, text)) = files.iter().find_map(|file| Some((file, tree.text(file)?))) else {
            return Ok(None);
        };
        let items = parse(file, text)?.items;
        Ok(Some((name, self.add(tree, parent, file, &below, items)?)))
    }

    /// Which files need which others. A module does not need what is below it: that is what it is made of.
    pub(super) fn needs(&self) -> Vec<Need> {
        let mut needs = BTreeMap::new();
        for (id, module) in self.0.iter().enumerate() {
            for (path, line) in &module.paths {
                let Some(Target::ItemOf(target)) = self.resolve(id, path, 0) else { continue };
                let to = &self.0[target].file;
                if *to == module.file || self.is_below(target, id) {
                    continue;
                }
                let first = needs.entry((module.file.clone(), to.clone())).or_insert(*line);
                *first = (*first).min(*line);
            }
        }
        needs.into_iter().map(|((from, to), line)| Need { from, to, line }).collect()
    }

    fn is_below(&self, mut id: usize, above: usize) -> bool {
        while id != 0 {
            id = self.0[id].parent;
            if self.0[id].file == self.0[above].file {
                return true;
            }
        }
        false
    }

    /// Where a path leads that is written in module `from`; `None` if out of the crate.
    fn resolve(&self, from: usize, path: &[String], hops: usize) -> Option<Target> {
        let mut at = from;
        for (index, segment) in path.iter().enumerate() {
            match segment.as_str() {
                "crate" => at = 0,
                "self" => {}
                "super" => at = self.0[at].parent,
                name => match self.named(at, name, hops) {
                    Some(Target::Module(module)) => at = module,
                    Some(item) => return Some(item),
                    // A name that is nowhere is another crate's, or made by a macro.
                    None if index == 0 => return None,
                    None => return Some(Target::ItemOf(at)),
                },
            }
        }
        Some(Target::Module(at))
    }

    fn named(&self, at: usize, name: &str, hops: usize) -> Option<Target> {
        let module = &self.0[at];
        if let Some(child) = module.children.get(name) {
            return Some(Target::Module(*child));
        }
        if module.own.contains(name) {
            return Some(Target::ItemOf(at));
        }
        if hops == MAX_HOPS {
            return None;
        }
        if let Some(path) = module.imports.get(name) {
            // `use name;` alone would lead back to itself.
            return (path.as_slice() != [name]).then(|| self.resolve(at, path, hops + 1)).flatten();
        }
        module.globs.iter().find_map(|glob| match self.resolve(at, glob, hops + 1)? {
            Target::Module(module) if module != at => self.named(module, name, hops + 1),
            _ => None,
        })
    }
}

impl Module {
    fn take(&mut self, item: &Item) {
        match item {
            Item::Use(tree) => {
                let line = tree.use_token.span.start().line;
                self.import(&tree.tree, &mut Vec::new(), line);
            }
            item => {
                self.own.extend(name(item));
                Paths(&mut self.paths).visit_item(item);
            }
        }
    }

    fn import(&mut self, tree: &UseTree, prefix: &mut Vec<String>, line: usize) {
        let leaf = |module: &mut Self, name: String, as_name: String| {
            let mut path = prefix.clone();
            if name != "self" {
                path.push(name);
            }
            let as_name = if as_name == "self" { path.last().cloned().unwrap_or(as_name) } else { as_name };
            module.paths.push((path.clone(), line));
            module.imports.insert(as_name, path);
        };
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix, line);
                prefix.pop();
            }
            UseTree::Name(name) => leaf(self, name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(rename) => leaf(self, rename.ident.to_string(), rename.rename.to_string()),
            UseTree::Glob(_) => self.globs.push(prefix.clone()),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, prefix, line));
            }
        }
    }
}

/// Collects the paths of more than one segment; what one segment names was imported or is defined beside it.
struct Paths<'a>(&'a mut Vec<(Vec<String>, usize)>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast Path) {
        if path.segments.len() > 1 && path.leading_colon.is_none() {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.0.push((segments, path.segments[0].ident.span().start().line));
        }
        visit::visit_path(self, path);
    }
}

fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether something is there for tests only.
fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}
