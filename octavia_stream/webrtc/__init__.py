"""The live door through WebRTC: packets and samples, offers and answers. It knows no session and no room."""
