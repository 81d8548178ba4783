"""YAML within bounds: a file of some kilobytes can be nested too deep for Python, or name its parts a billion times."""

from __future__ import annotations

from typing import Any

import yaml

_DEEPEST = 50
_MOST_NODES = 1_000_000  # with every alias counted as what it stands for


class YamlBoundsError(yaml.YAMLError):
    """YAML that is nested too deep or stands for too much."""


class _UniqueKeys(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # refused when it is constructed
            line = key.start_mark.line + 1
            if key.value in lines:
                raise yaml.YAMLError(f"{key.value} stands in line {lines[key.value]} and again in line {line}")
            lines[key.value] = line
        return node


def load_configuration(text: str) -> Any:
    """As `load_yaml`; raises yaml.YAMLError also where a mapping has a key twice, of which YAML takes the last one."""
    require_bounds(text)
    return yaml.load(text, _UniqueKeys)


def load_yaml(text: str) -> Any:
    """`yaml.safe_load` of a text. Raises yaml.YAMLError, also where it goes beyond the bounds."""
    require_bounds(text)
    return yaml.safe_load(text)


def require_bounds(text: str, loader: Any = yaml.SafeLoader) -> None:
    """Raise YamlBoundsError where nesting or aliases of the first document go too far; yaml.YAMLError for no YAML."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > _DEEPEST:
                raise YamlBoundsError(f"it is nested more than {_DEEPEST} levels deep")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            anchor, size = None, sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.DocumentEndEvent) and open_nodes[0][1] > 1:
            return  # what comes behind is not read, or is an error for the reader
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        above, total = open_nodes[-1]
        if total + size > _MOST_NODES:
            raise YamlBoundsError(f"its aliases stand for more than {_MOST_NODES} values")
        open_nodes[-1] = above, total + size
