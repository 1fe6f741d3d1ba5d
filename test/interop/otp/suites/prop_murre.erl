%% prop_murre: properties of a cluster of OTP and murre nodes, for PropEr. prop_murre:run(Program, Tests) starts the cluster, two nodes of each kind, and ends it.
-module(prop_murre).
-include_lib("proper/include/proper.hrl").
-export([run/2]).

run(Murre, Tests) ->
    One = start(murre, Murre, ""),
    Nodes = [First | Rest] = [start(otp, Murre, ""), One, start(otp, Murre, ""), start(murre, Murre, atom_to_list(element(2, One)))],
    [true = peer:call(element(1, First), net_kernel, connect_node, [Name]) || {_, Name, _} <- Rest],
    [true = wait(fun() -> length(peer:call(Peer, erlang, nodes, [])) =:= 3 end) || {Peer, _, _} <- Nodes],
    proper:quickcheck(prop_groups(Nodes), [{numtests, Tests}, {max_size, 30}]) andalso begin [peer:stop(P) || {P, _, _} <- Nodes], true end.

%% A murre node connects to the one that it is told, by node.seeds; OTP nodes to those whom global introduces.
start(Kind, Murre, Seed) ->
    Exec = case Kind of
               murre -> #{exec => {Murre, ["peer"]}, args => ["--set", "node.seeds=" ++ Seed]};
               otp -> #{args => ["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-kernel", "start_pg", "true"]}
           end,
    {ok, Peer, Name} = peer:start_link(Exec#{name => peer:random_name(Kind), host => "127.0.0.1", connection => standard_io, wait_boot => 60000}),
    Pids = case Kind of
               murre -> [peer:call(Peer, erlang, whereis, [Service]) || Service <- [net_kernel, global_name_server]];
               otp -> [peer:call(Peer, erlang, spawn, [timer, sleep, [infinity]]) || _ <- [1, 2]]
           end,
    {Peer, Name, Pids}.

%% Whoever joins and leaves whatever groups in whatever order: in the end every node, of either kind, says the same of each group, and it is what was done.
prop_groups(Nodes) ->
    ?FORALL(Steps, list({oneof([join, join, leave]), range(1, 3), range(1, length(Nodes)), range(1, 2)}),
            begin
                Trial = make_ref(),
                Model = lists:foldl(fun(S, M) -> step(S, Trial, Nodes, M) end, [], Steps),
                Wrong = [{G, Name} || G <- [1, 2, 3], {Peer, Name, _} <- Nodes, not agrees(Peer, {Trial, G}, lists:sort([P || {X, P} <- Model, X =:= G]))],
                [peer:call(Peer, pg, leave, [{Trial, G}, P]) || {G, P} <- Model, {Peer, Name, _} <- Nodes, Name =:= node(P)],
                ?WHENFAIL(io:format("wrong: ~p~n", [Wrong]), Wrong =:= [])
            end).

step({Op, G, N, I}, Trial, Nodes, Model) ->
    {Peer, _, Pids} = lists:nth(N, Nodes),
    P = lists:nth(I, Pids),
    case {Op, lists:member({G, P}, Model), peer:call(Peer, pg, Op, [{Trial, G}, P])} of
        {join, _, ok} -> [{G, P} | Model];
        {leave, true, ok} -> Model -- [{G, P}];
        {leave, false, not_joined} -> Model
    end.

agrees(Peer, Group, Want) -> wait(fun() -> lists:sort(peer:call(Peer, pg, get_members, [Group])) =:= Want end).

%% Whether it becomes so within a time that is long on any machine: nothing tells of what another node has learned.
wait(Ask) -> wait(Ask, erlang:monotonic_time(second) + 60).
wait(Ask, End) -> Ask() orelse (erlang:monotonic_time(second) < End andalso receive after 5 -> wait(Ask, End) end).
