all_peers = hubnet.peers(["group1", "group2"], hubs_only=True, refresh=True)
