// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Events on their way to the host. Several may happen in one cycle: they enter in the order of the units, then the end of
// the run, then a fault. Nothing is ever lost: while more than half is taken room_o keeps commands and launches back,
// and the other half holds what commands inside the units, the end of the run and one fault can still bring. Retirements
// come a cycle late, when the register file has taken the unit's counters down.
module event_queue
  import systole_pkg::*;
#(
  parameter int unsigned DEPTH = 64
) (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic [31:0]  token_i,
  input  logic [63:0]  cycle_i,             // of the run
  input  logic [63:0]  start_i  [UNITS],    // when the unit took the command
  input  logic [32*UNITS*COUNTER_KINDS-1:0] counters_i,
  input  logic         retire_i [UNITS],    // and the host wants to know
  input  logic [31:0]  index_i  [UNITS],
  input  logic         complete_i,
  input  logic [63:0]  complete_cycle_i,
  input  logic [31:0]  complete_commands_i,
  input  logic         fault_i,
  input  logic [7:0]   fault_error_i,
  input  logic [7:0]   fault_unit_i,
  input  logic [31:0]  fault_command_i,
  input  logic [31:0]  fault_detail_i,
  input  logic [63:0]  fault_cycle_i,
  input  logic [31:0]  fault_token_i,
  output logic         room_o,
  output logic         event_valid_o,
  output logic [511:0] event_o,
  input  logic         event_ready_i
);
  localparam int unsigned BITS = $clog2(DEPTH);

  logic [511:0]    queue [DEPTH]; // private to the block below, as the two counts
  logic [BITS-1:0] head;
  logic [BITS:0]   count;
  logic            something;
  always_comb begin
    something = complete_i || fault_i || event_valid_o || !room_o;
    for (int unsigned u = 0; u < UNITS; u++) something = something || retire_i[u];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      head  = '0;
      count = '0;
      room_o        <= 1'b1;
      event_valid_o <= 1'b0;
    end else if (something) begin
      for (int unsigned u = 0; u < UNITS; u++) begin
        if (retire_i[u]) begin
          queue[BITS'(32'(head) + 32'(count))] =
              {96'd0, counters_i[32*COUNTER_KINDS*u+:32*COUNTER_KINDS], start_i[u], cycle_i, 32'd0, index_i[u],
               token_i, 8'd0, 8'(u), ERROR_NONE, EVENT_RETIRED};
          count = count + 1'b1;
        end
      end
      if (complete_i) begin
        queue[BITS'(32'(head) + 32'(count))] =
            {320'd0, complete_cycle_i, 32'd0, complete_commands_i, token_i, 8'd0, 8'hff, ERROR_NONE, EVENT_RUN_COMPLETE};
        count = count + 1'b1;
      end
      if (fault_i) begin
        queue[BITS'(32'(head) + 32'(count))] = {320'd0, fault_cycle_i, fault_detail_i, fault_command_i, fault_token_i, 8'd0,
                                                fault_unit_i, fault_error_i, EVENT_FAULT};
        count = count + 1'b1;
      end
      if (!event_valid_o || event_ready_i) begin
        event_valid_o <= count != '0;
        if (count != '0) begin
          event_o <= queue[head];
          head  = head + 1'b1;
          count = count - 1'b1;
        end
      end
      room_o <= 32'(count) <= DEPTH / 2;
    end
  end
endmodule
