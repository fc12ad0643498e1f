// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What a debugger asks for: fetch is held before commands that match a breakpoint, or before every one; words of the
// scratchpad are read aside from all frames, also after an error; each unit's queue can be looked at. Commands retire out
// of the order in which fetch gives them out, so holding fetch and waiting until all before the held command have
// retired is what makes "before command N" a state: then `still_o` stops the run's clock, counters and watchdog.
//
// With hold and breakpoints off, hold_o and still_o are never set and nothing here changes. Registers are read as those
// of register_file, in the next cycle; selected_o says that it was one of these.
module debug_module
  import systole_pkg::*;
#(
  parameter int unsigned COLUMNS = 16,
  localparam int unsigned WORD   = 8 * COLUMNS
) (
  input  logic            clk_i,
  input  logic            rst_ni,           // with the soft reset
  input  logic            register_write_i,
  input  logic            register_read_i,
  input  logic [11:0]     register_address_i,
  input  logic [49:0]     register_data_i,
  output logic [63:0]     register_data_o,
  output logic            selected_o,

  input  logic            launch_i,
  input  logic            check_valid_i,    // command_fetch has a command to give out
  input  logic [31:0]     check_index_i,
  input  logic [15:0]     check_operator_i,
  input  logic            passed_i,         // it does so in this cycle
  output logic            hold_o,           // it must not
  input  logic [31:0]     retired_i,        // commands of the run
  output logic            still_o,

  output logic            read_valid_o,     // to the scratchpad, until it is granted
  output logic [31:0]     read_address_o,
  input  logic            read_grant_i,
  input  logic [WORD-1:0] read_data_i,      // from the next cycle until another is read
  input  logic            read_parity_i,    // is wrong

  input  logic [23:0]     unit_retired_i [UNITS],
  input  logic [7:0]      unit_queued_i  [UNITS],
  input  logic [7:0]      unit_inside_i  [UNITS],
  input  logic            unit_waiting_i [UNITS]
);
  logic        hold_q, active_q, go_q;
  logic [BREAKPOINT_COUNT-1:0][49:0] breakpoint_q;
  logic [15:0] operator_q;     // of the command before
  logic        first_q;        // there is none

  logic [BREAKPOINT_COUNT-1:0] matched;
  always_comb begin
    matched = '0;
    if (active_q && check_valid_i) begin
      for (int unsigned b = 0; b < BREAKPOINT_COUNT; b++) begin
        matched[b] = (breakpoint_q[b][48] && breakpoint_q[b][31:0] == check_index_i) ||
                     (breakpoint_q[b][49] && breakpoint_q[b][47:32] == check_operator_i &&
                      (first_q || operator_q != check_operator_i));
      end
    end
  end
  assign hold_o  = active_q && check_valid_i && !go_q && (hold_q || matched != '0);
  assign still_o = hold_o && retired_i == check_index_i;

  logic in_breakpoints, in_data, in_units;
  assign in_breakpoints = register_address_i[11:5] == REGISTER_BREAKPOINT[11:5] && register_address_i[2:0] == '0;
  assign in_data        = register_address_i[11:6] == REGISTER_DEBUG_DATA[11:6] && register_address_i[2:0] == '0;
  assign in_units       = register_address_i[11:6] == REGISTER_UNIT_STATE[11:6] && register_address_i[2:0] == '0 &&
                          32'(register_address_i[5:3]) < UNITS;

  // ------------------------------------------------------------------------------------------------------ reading
  logic [511:0] word;
  assign word = 512'(read_data_i);
  always_ff @(posedge clk_i) begin
    if (register_read_i) begin
      selected_o      <= register_address_i[11:8] == REGISTER_DEBUG_CONTROL[11:8];
      register_data_o <= '0;
      if (register_address_i == REGISTER_DEBUG_CONTROL) register_data_o <= {63'd0, hold_q};
      if (register_address_i == REGISTER_DEBUG_STATE) begin
        register_data_o <= {hold_o ? check_index_i : 32'd0, 20'd0, hold_o ? matched : 4'd0, 4'd0,
                            read_parity_i, read_valid_o, still_o, hold_o};
      end
      if (register_address_i == REGISTER_DEBUG_ADDRESS) register_data_o <= {32'd0, read_address_o};
      if (in_breakpoints) register_data_o <= {14'd0, breakpoint_q[register_address_i[4:3]]};
      if (in_data) register_data_o <= word[64*register_address_i[5:3]+:64];
      if (in_units) begin
        register_data_o <= {23'd0, unit_waiting_i[register_address_i[5:3]], unit_inside_i[register_address_i[5:3]],
                            unit_queued_i[register_address_i[5:3]], unit_retired_i[register_address_i[5:3]]};
      end
    end
  end

  // ------------------------------------------------------------------------------------------------------ writing
  always_ff @(posedge clk_i) begin
    if (register_write_i) begin
      if (register_address_i == REGISTER_DEBUG_CONTROL) begin
        hold_q <= register_data_i[0];
        if (register_data_i[1] && hold_o) go_q <= 1'b1;
      end
      if (register_address_i == REGISTER_DEBUG_ADDRESS) begin
        read_address_o <= register_data_i[31:0];
        read_valid_o   <= 1'b1;
      end
      if (in_breakpoints) breakpoint_q[register_address_i[4:3]] <= register_data_i;
    end
    active_q <= hold_q;
    for (int unsigned b = 0; b < BREAKPOINT_COUNT; b++) begin
      if (breakpoint_q[b][49:48] != '0) active_q <= 1'b1;
    end
    if (read_valid_o && read_grant_i) read_valid_o <= 1'b0;
    if (passed_i) begin
      go_q       <= 1'b0;
      first_q    <= 1'b0;
      operator_q <= check_operator_i;
    end
    if (launch_i) begin
      go_q    <= 1'b0;
      first_q <= 1'b1;
    end
    if (!rst_ni) begin
      hold_q         <= 1'b0;
      active_q       <= 1'b0;
      go_q           <= 1'b0;
      first_q        <= 1'b1;
      read_valid_o   <= 1'b0;
      read_address_o <= '0;
      breakpoint_q   <= '0;
    end
  end
endmodule
