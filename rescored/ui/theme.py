"""The theme: quiet colours, dense spacing, the system's own fonts (no request leaves the machine)."""

from __future__ import annotations

import gradio as gr

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Liberation Mono", "monospace")


def theme() -> gr.themes.Base:
    """Stone and teal, in light and dark."""
    return gr.themes.Base(
        primary_hue="teal", secondary_hue="teal", neutral_hue="stone", spacing_size="sm", radius_size="sm",
        text_size="md", font=_SANS, font_mono=_MONO,
    ).set(
        body_background_fill="*neutral_50", body_background_fill_dark="*neutral_950",
        background_fill_primary="white", background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_100", background_fill_secondary_dark="*neutral_900",
        body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700", button_primary_background_fill_hover_dark="*primary_800",
        color_accent="*primary_700", block_label_text_weight="500", block_title_text_weight="500",
        block_shadow="none", input_shadow="none", button_primary_shadow="none",
    )
