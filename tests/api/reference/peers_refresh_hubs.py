all_peers = hubnet.peers(hubs_only=True, refresh=True)
