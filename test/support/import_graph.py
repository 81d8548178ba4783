"""Which module of this repository imports which, read from the sources."""

import ast
from functools import cache

from support.paths import ROOT

LAYERS = ("add_model", "training", "add_ros")


def modules():
    """Dotted name -> file, for every Python file of the three layers."""
    found = {}
    for layer in LAYERS:
        for file in (ROOT / layer).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


@cache
def imports(name, at_start):
    """Dotted names that a module imports: when it is imported itself, or anywhere (inside functions too)."""
    found = set()

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if at_start and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if at_start and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                package = name.split(".")
                if MODULES[name].name != "__init__.py":
                    package = package[:-1]
                base = ".".join(package[: len(package) - child.level + 1]) if child.level else ""
                source = ".".join(filter(None, [base, child.module]))
                found.add(source)
                found.update(f"{source}.{alias.name}" for alias in child.names)
            else:
                visit(child)

    visit(ast.parse(MODULES[name].read_text()))
    return frozenset(found)


def loaded_with(name):
    """Everything that importing a module imports, followed through this repository's own modules."""
    done, todo = set(), [name]
    while todo:
        module = todo.pop()
        if module in done:
            continue
        done.add(module)
        todo += [".".join(module.split(".")[:n]) for n in range(1, module.count(".") + 1)]
        if module in MODULES:
            todo += imports(module, at_start=True)
    return done


def own_imports(name):
    """The modules of this repository that a module imports, anywhere in it."""
    return {other for other in imports(name, at_start=False) if other in MODULES and other != name}
